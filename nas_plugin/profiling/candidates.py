"""Cost tables of a model: FLOPs counted, latency measured, candidate by candidate."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import nn

from nas_plugin.choice.binding import Binding
from nas_plugin.choice.block import ChoiceBlock
from nas_plugin.choice.keys import KeyedBlock, keyed_blocks, unwrap
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.choice.partial import split_channels
from nas_plugin.errors import OptionError, SpaceError
from nas_plugin.profiling.flops import count_flops
from nas_plugin.profiling.params import count_params
from nas_plugin.space.collect import search_space
from nas_plugin.space.cost_table import CostTable
from nas_plugin.space.decide import decisions_of
from nas_plugin.space.fix import apply_fixed_architecture

Measure = Callable[..., float]
_DRAWS = 200


def flops_table(model: nn.Module, *inputs: Any) -> CostTable:
    """Counts every candidate's floating-point operations, as `count_flops` does.

    Args:
        model: A supernet; it is not changed.
        *inputs: What it takes, on its device.

    Raises:
        SpaceError: If a cost cannot be said by candidate.
    """
    return _table(model, inputs, count_flops, "FLOPs", {})


def params_table(model: nn.Module, *inputs: Any) -> CostTable:
    """Counts every candidate's parameters, those of blocks that share a key together.

    Args:
        model: A supernet; it is not changed.
        *inputs: What it takes, on its device.

    Raises:
        SpaceError: If a cost cannot be said by candidate.
    """
    return _table(model, inputs, lambda module, *_: count_params(module), "parameters", {})


def latency_table(model: nn.Module, *inputs: Any, repeats: int = 20, warm_up: int = 5) -> CostTable:
    """Measures every candidate's forward pass on this machine, in milliseconds.

    A candidate's latency is the median of `repeats` passes in evaluation mode. The rest of the
    network is measured as the whole of one architecture less its candidates.

    Args:
        model: A supernet, on the device that is meant; it is not changed.
        *inputs: What it takes; their batch size is the one that is measured.
        repeats: Measured passes.
        warm_up: Passes before them.

    Raises:
        OptionError: If a number is not positive.
        SpaceError: If a cost cannot be said by candidate.
    """
    if repeats < 1 or warm_up < 0:
        raise OptionError(f"repeats must be positive, warm_up not negative: {repeats}, {warm_up}.")

    def milliseconds(module: nn.Module, *given: Any) -> float:
        module.eval()
        times = []
        with torch.no_grad():
            for i in range(warm_up + repeats):
                start = time.perf_counter()
                module(*given)
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                if i >= warm_up:
                    times.append(1000 * (time.perf_counter() - start))
        return statistics.median(times)

    first = next((x for x in inputs if isinstance(x, torch.Tensor)), None)
    about: dict[str, Any] = {"repeats": repeats, "threads": torch.get_num_threads()}
    if first is not None:
        name = torch.cuda.get_device_name(first.device) if first.is_cuda else first.device.type
        about |= {"device": name, "input": list(first.shape)}
    return _table(model, inputs, milliseconds, "ms", about)


def _table(
    model: nn.Module, inputs: tuple[Any, ...], measure: Measure, unit: str, about: dict[str, Any]
) -> CostTable:
    model = copy.deepcopy(unwrap(model)).eval()
    places = keyed_blocks(model)
    for place in places:
        nested = [m for m in place.block.modules() if m is not place.block]
        if not isinstance(place.block, LayerChoice) and place.block.kind != "input":
            raise SpaceError(
                f"The cost of the {type(place.block).__name__} '{place.path}' does not add up over "
                "candidates; only LayerChoice and InputChoice have a cost table."
            )
        if any(isinstance(m, ChoiceBlock) for m in nested):
            raise SpaceError(
                f"The candidates of '{place.path}' hold choice blocks themselves, so they have no "
                "single cost."
            )
    layers = [place for place in places if isinstance(place.block, LayerChoice)]
    seen = _inputs_of(model, layers, inputs)
    costs: dict[str, dict[str, float]] = {}
    for place in layers:
        candidates = costs.setdefault(place.key, {})
        for name, module in zip(place.block.candidates, place.block, strict=True):  # type: ignore[call-overload]
            args, kwargs = seen[place.path]
            if isinstance(place.block, LayerChoice) and place.block.partial > 1:
                args = split_channels(args[0], place.block.partial, place.block.label)[:1]
            cost = 0.0
            # Nothing to run costs nothing; timing the call would say microseconds.
            if not isinstance(module, nn.Identity):
                cost = float(measure(_Bound(module, kwargs), *args))
            candidates[name] = candidates.get(name, 0.0) + cost
    architecture = search_space(model).first()
    whole = float(measure(apply_fixed_architecture(model, architecture), *inputs))
    chosen = CostTable(unit, costs)(architecture)
    return CostTable(unit, costs, fixed=max(0.0, whole - chosen), about=about)


class _Bound(nn.Module):
    """A candidate with the keyword arguments that its block received."""

    def __init__(self, module: nn.Module, kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.module, self.kwargs = module, kwargs

    def forward(self, *args: Any) -> Any:
        return self.module(*args, **self.kwargs)


def _inputs_of(
    model: nn.Module, layers: list[KeyedBlock], inputs: tuple[Any, ...]
) -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    """Returns what each layer choice receives, from as many random architectures as it takes."""
    seen: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
    space = search_space(model)
    binding = Binding("the profiler")
    binding.attach(model)
    hooks = []
    for place in layers:

        def note(_: nn.Module, args: Any, kwargs: Any, path: str = place.path) -> None:
            seen[path] = (args, kwargs)

        hooks.append(place.block.register_forward_pre_hook(note, with_kwargs=True))
    rng = Random(0)
    for _ in range(_DRAWS):
        binding.decisions = decisions_of(space, space.sample(rng))
        with torch.no_grad():
            model(*inputs)
        if len(seen) == len(layers):
            break
    for hook in hooks:
        hook.remove()
    binding.detach(model)
    missing = [place.path for place in layers if place.path not in seen]
    if missing:
        raise SpaceError(
            f"None of {_DRAWS} random architectures ran the block '{missing[0]}', so its input is "
            "unknown and its candidates cannot be measured."
        )
    return seen
