"""``nas-plugin space``: write the search space of a training script."""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path

NAME = "space"
HELP = "write the search space of a training script as NNI's JSON"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "--command", dest="script", required=True, help="command that starts the script"
    )
    parser.add_argument("--out", type=Path, default=Path("search_space.json"), help="the file")
    parser.add_argument(
        "--form",
        choices=("flat", "nni"),
        default="flat",
        help="flat: plain choices that every tuner searches; nni: layer_choice and input_choice",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the script up to where it asks for an architecture; it writes the space instead."""
    from nas_plugin.errors import SpaceError
    from nas_plugin.experiment.space_format import from_nni
    from nas_plugin.experiment.training_script import FORM_VARIABLE, SPACE_VARIABLE
    from nas_plugin.files import read_json

    out = args.out.resolve()
    before = out.stat().st_mtime_ns if out.exists() else None
    environment = {**os.environ, SPACE_VARIABLE: str(out), FORM_VARIABLE: args.form}
    # The command is the user's own line, run as NNI runs trialCommand.
    ended = subprocess.run(args.script, shell=True, env=environment, check=False)
    if ended.returncode != 0:
        raise SpaceError(f"`{args.script}` ended with exit code {ended.returncode}.")
    if not out.exists() or out.stat().st_mtime_ns == before:
        raise SpaceError(
            f"`{args.script}` ended without writing its search space. It must call "
            "get_and_apply_next_architecture (or next_architecture)."
        )
    space = from_nni(read_json(out))
    print(f"{args.out}: {len(space)} choices, {space.size:,} architectures")
    return 0
