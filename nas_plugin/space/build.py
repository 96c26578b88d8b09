"""From a factory to a supernet, or to one architecture's plain model."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from nas_plugin.space.collect import build_supernet, search_space
from nas_plugin.space.fix import ArchitectureSource, apply_fixed_architecture, read_architecture


def build(
    factory: Callable[[], nn.Module], architecture: ArchitectureSource | None = None
) -> nn.Module:
    """Makes the model of `factory` with every ValueChoice answered.

    Without an architecture each ValueChoice gives its first value and the choice blocks stay: the
    supernet. With one, each gives the chosen value and the blocks are fixed: a plain model.

    Args:
        factory: Makes the model; called once, or twice to learn the space first.
        architecture: A mapping from keys to choices, or the path of an architecture file.

    Raises:
        ArchitectureError: If the architecture does not fit.
    """
    if architecture is None:
        return build_supernet(factory)
    chosen = read_architecture(architecture)
    model = build_supernet(factory, chosen)
    search_space(model).architecture(chosen)
    return apply_fixed_architecture(model, chosen)
