"""Every space at its smallest, and which mutator cannot search which, with the reason."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin import Rule, annotate
from nas_plugin.operations import conv_alternatives
from nas_plugin.space.spaces import spaces
from nas_plugin.testing import smooth_net

_RESNET = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "annotate" / "resnet.py"))


def annotated_resnet(*, channels: int = 4, classes: int = 4) -> nn.Module:
    """Returns a user's network without cells, as `examples/annotate` searches it."""
    model: nn.Module = _RESNET["ResNet"](3, channels, classes)
    annotate(model, Rule("blocks.*.conv?", conv_alternatives))
    return model


_CELLS: dict[str, Any] = {"channels": 4, "classes": 4}
_STAGES: dict[str, Any] = {
    "classes": 4, "stem": 4, "last": 8, "repeats": (2, 1), "channels": (8, 16),
    "small_images": True,
}  # fmt: skip

#: Space → its builder and sizes.
SPACES: dict[str, tuple[Callable[..., nn.Module], dict[str, Any]]] = {
    **{name: (spaces.get(name), sizes) for name, sizes in {
        "darts": {**_CELLS, "layers": 3, "nodes": 2},
        "darts_s1": {**_CELLS, "layers": 3},
        "darts_s2": {**_CELLS, "layers": 3},
        "darts_s3": {**_CELLS, "layers": 3},
        "darts_s4": {**_CELLS, "layers": 3},
        "enas_macro": {**_CELLS, "layers": 3},
        "enas_micro": {**_CELLS, "layers": 3, "nodes": 2},
        "nasbench101": {**_CELLS, "cells": 1},
        "nasbench1shot1_1": {**_CELLS, "cells": 1},
        "nasbench1shot1_2": {**_CELLS, "cells": 1},
        "nasbench1shot1_3": {**_CELLS, "cells": 1},
        "nasbench201": {**_CELLS, "cells": 1},
        "proxylessnas": {**_STAGES, "first": 4, "strides": (1, 2)},
        "spos": _STAGES,
        "textnas": {
            "vocabulary": 20, "embedding_size": 6, "width": 8, "layers": 3, "classes": 4,
            "heads": 2,
        },
    }.items()},
    "smooth": (smooth_net, {**_CELLS}),
    "annotated": (annotated_resnet, {}),
}  # fmt: skip

NARROW = "candidates of one in four channels are made by the builder, and this one makes none"
_WIDE = (
    "annotated", "enas_macro", "enas_micro", "nasbench101", "nasbench1shot1_1",
    "nasbench1shot1_2", "nasbench1shot1_3", "proxylessnas", "spos", "textnas",
)  # fmt: skip

#: Mutator and space → why it makes no sense, and what the refusal says.
REFUSED: dict[tuple[str, str], tuple[str, str]] = {
    **{("pc_darts", space): (NARROW, "cannot be built narrower") for space in _WIDE},
}

DECIDED = "its inputs are layers of which the controller always has a memory, so no name is read"

#: Mutator and space → logits that no step reaches, and why.
AT_REST: dict[tuple[str, str], tuple[str, str]] = {
    ("enas", "enas_macro"): ("names.weight", DECIDED),
    ("enas", "textnas"): ("names.weight", DECIDED),
}


def samples(space: str, n: int) -> Tensor:
    """Returns n inputs: sentences for the space of texts, images for the others."""
    generator = torch.Generator().manual_seed(0)
    if space == "textnas":
        ids = torch.randint(1, 20, (n, 7), generator=generator)
        ids[::2, 4:] = 0
        return ids
    size = 4 if space == "smooth" else 8
    return torch.randn(n, 1 if space == "smooth" else 3, size, size, generator=generator)
