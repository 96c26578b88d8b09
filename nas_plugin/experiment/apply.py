"""From the tuner's proposal to a plain model, in one line of a training script."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from nas_plugin.experiment.training_script import next_architecture
from nas_plugin.space.build import build
from nas_plugin.space.collect import search_space
from nas_plugin.space.fix import apply_fixed_architecture


def get_and_apply_next_architecture(
    model: nn.Module | Callable[[], nn.Module],
) -> nn.Module:
    """Returns the plain model of the next architecture; the unused candidates are gone.

    Under NNI the tuner proposes it. By hand it is that of ``--arc-checkpoint FILE`` on the
    command line, else all first candidates. Asked for the space (`nas-plugin space`), the process
    writes it and ends here.

    Args:
        model: A model with choice blocks, which is changed in place, or a factory of one; a
            factory may also use ValueChoice.

    Raises:
        ArchitectureError: If the proposal does not fit the model.
        ExperimentError: If the manager cannot be reached.
    """
    architecture = next_architecture(search_space(model)).to_json()
    if isinstance(model, nn.Module):
        return apply_fixed_architecture(model, architecture)
    return build(model, architecture)
