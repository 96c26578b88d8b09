"""Builders of spaces whose candidates are built narrower than their blocks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

from torch import nn

from nas_plugin.errors import OptionError, SpaceError
from nas_plugin.space.spaces import spaces

Builder = Callable[..., nn.Module]


def narrowed(builder: Builder, partial: int) -> Builder:
    """Returns a builder whose candidates see one in `partial` channels.

    Args:
        builder: Makes a supernet and takes the argument ``partial``.
        partial: 1 leaves the builder as it is.

    Raises:
        SpaceError: If the builder cannot make narrower candidates.
        OptionError: If `partial` is not positive.
    """
    if partial < 1:
        raise OptionError(f"partial must be at least 1, got {partial}.")
    if partial == 1:
        return builder
    if "partial" not in inspect.signature(builder).parameters:
        name = getattr(builder, "__name__", repr(builder))
        able = [n for n in spaces if "partial" in inspect.signature(spaces.get(n)).parameters]
        raise SpaceError(
            f"The candidates of '{name}' cannot be built narrower: it takes no argument 'partial'. "
            f"Spaces that can: {', '.join(able)}. A space of one's own gives "
            "LayerChoice(..., partial=k) candidates of C / k channels."
        )
    return functools.partial(builder, partial=partial)
