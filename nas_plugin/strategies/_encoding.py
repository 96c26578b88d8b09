"""Architectures as vectors, for predictors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
import numpy.typing as npt

from nas_plugin.errors import OptionError, StrategyError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Value
from nas_plugin.space.search_space import SearchSpace

Vector = npt.NDArray[np.float64]
Encode = Callable[[Architecture], Vector]

_EDGE = re.compile(r".*?(\d+)\D+(\d+)")
#: Operations that let nothing through: a path over one of them does not exist.
_ZERO = ("none", "zero")
_MOST_PATHS = 4096


def one_hot(space: SearchSpace) -> Encode:
    """Encodes each choice by one entry per candidate: 1 if it is chosen, else 0."""
    position: dict[str, dict[Value, int]] = {}
    size = 0
    for choice in space.order:
        position[choice.key] = {c: size + i for i, c in enumerate(choice.options)}
        size += len(choice.options)

    def encode(architecture: Mapping[str, Value]) -> Vector:
        vector = np.zeros(size)
        for key, value in architecture.items():
            places = position[key]
            if isinstance(value, tuple):
                for entry in value:
                    vector[places[entry]] = 1.0
            else:
                vector[places[value]] = 1.0
        return vector

    return encode


def path(space: SearchSpace) -> Encode:
    """Encodes a cell by the operations met on each way from its first node to its last.

    The keys must be layer choices that end in the numbers of the two nodes of an edge, target
    first (``edge_3_1``). An entry is a sequence of operations; it is 1 if some path has it.
    Operations called ``none`` end a path.

    Raises:
        StrategyError: If the space is no cell of such edges.

    References:
        White et al. 2021, https://arxiv.org/abs/1910.11858
    """
    edges: dict[tuple[int, int], str] = {}
    for choice in space.order:
        match = _EDGE.fullmatch(choice.key)
        nodes = (int(match[1]), int(match[2])) if match else (0, 0)
        if choice.kind != "layer" or choice.active_if or nodes[0] <= nodes[1] or nodes in edges:
            raise StrategyError(
                f"The path encoding needs one layer choice an edge, called like 'edge_3_1' "
                f"(target, then source); '{choice.key}' is something else. Use 'one_hot'."
            )
        edges[nodes] = choice.key
    first = min(source for _, source in edges)
    last = max(target for target, _ in edges)
    ways = _ways(edges, first, last)
    index: dict[tuple[Value, ...], int] = {}
    for way in ways:
        options = [[o for o in space[key].options if o not in _ZERO] for key in way]
        for operations in product(*options):
            index.setdefault(operations, len(index))
            if len(index) > _MOST_PATHS:
                raise StrategyError(
                    f"The cell has more than {_MOST_PATHS:,} different paths. Use 'one_hot'."
                )

    def encode(architecture: Mapping[str, Value]) -> Vector:
        vector = np.zeros(len(index))
        for way in ways:
            place = index.get(tuple(architecture[key] for key in way))
            if place is not None:
                vector[place] = 1.0
        return vector

    return encode


def one_hot_and_path(space: SearchSpace) -> Encode:
    """Joins the two encodings."""
    first, second = one_hot(space), path(space)
    return lambda architecture: np.concatenate([first(architecture), second(architecture)])


ENCODINGS = {"one_hot": one_hot, "path": path, "one_hot+path": one_hot_and_path}


def make_encoding(encoding: str | Encode, space: SearchSpace) -> Encode:
    """Returns the encoding of that name, or the function itself.

    Raises:
        OptionError: If there is no such encoding.
    """
    if callable(encoding):
        return encoding
    if encoding not in ENCODINGS:
        raise OptionError(f"Unknown encoding '{encoding}'. Allowed: {', '.join(ENCODINGS)}.")
    return ENCODINGS[encoding](space)


def _ways(edges: Mapping[tuple[int, int], str], first: int, last: int) -> list[tuple[str, ...]]:
    """Returns every way from the first node to the last, as keys."""
    if first == last:
        return [()]
    return [
        (key, *rest)
        for (target, source), key in edges.items()
        if source == first
        for rest in _ways(edges, target, last)
    ]
