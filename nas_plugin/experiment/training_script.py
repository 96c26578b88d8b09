"""The next architecture of a training script: proposed, read from a file, or the first."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import cast

from nas_plugin.errors import ArchitectureError
from nas_plugin.experiment.space_format import SpaceForm, from_parameters, to_nni
from nas_plugin.experiment.trial import current_trial
from nas_plugin.files import read_json
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace

#: Where a script that is asked for its search space writes it; NNI 1.x used the same name.
SPACE_VARIABLE = "NNI_GEN_SEARCH_SPACE"
FORM_VARIABLE = "NAS_PLUGIN_SPACE_FORM"


def next_architecture(space: SearchSpace) -> Architecture:
    """Returns the next architecture, for scripts that need no model of choice blocks.

    Under NNI the tuner proposes it. By hand it is that of ``--arc-checkpoint FILE`` on the
    command line, else all first candidates. Asked for the space (`nas-plugin space`), the process
    writes it and ends here.

    Raises:
        ArchitectureError: If the proposal does not fit the space.
        ExperimentError: If the manager cannot be reached.
    """
    _answer_with_space(space)
    trial = current_trial()
    proposed = from_parameters(trial.parameters(), space) if trial.managed else None
    architecture = _by_hand(space) if proposed is None else proposed
    trial.runs(architecture.to_json())
    return architecture


def _by_hand(space: SearchSpace) -> Architecture:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--arc-checkpoint")
    checkpoint = parser.parse_known_args(sys.argv[1:])[0].arc_checkpoint
    if checkpoint is None:
        return space.first()
    spelled = read_json(Path(checkpoint))
    if not isinstance(spelled, dict):
        raise ArchitectureError(f"{checkpoint} must hold one JSON object from keys to choices.")
    return space.architecture(spelled)


def _answer_with_space(space: SearchSpace) -> None:
    target = os.environ.get(SPACE_VARIABLE)
    if not target:
        return
    form = cast(SpaceForm, os.environ.get(FORM_VARIABLE, "flat"))
    text = json.dumps(to_nni(space, form), indent=2) + "\n"
    Path(target).write_text(text, encoding="utf-8")
    raise SystemExit(0)
