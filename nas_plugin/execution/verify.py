"""Shows on a model at hand that what executors compute is what the modules compute."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.choice.binding import Binding
from nas_plugin.choice.decision import Decision, Dispatch
from nas_plugin.choice.keys import keyed_blocks, unwrap
from nas_plugin.errors import NasError, OptionError
from nas_plugin.execution.attach import chosen_executors
from nas_plugin.execution.dispatch import Dispatcher

#: What is compared → the tensors, None where nothing reached a parameter.
Found = dict[str, list[Tensor | None]]


@dataclass(frozen=True)
class Scenario:
    """One way of running a model: its mode, and what needs gradients.

    Args:
        name: What a difference is reported under.
        training: Training mode.
        inputs: The inputs need gradients.
        weights: The weights need gradients.
        logits: The coefficients need gradients.
        second: Gradients are differentiated once more.
    """

    name: str
    training: bool = True
    inputs: bool = True
    weights: bool = True
    logits: bool = True
    second: bool = False


SCENARIOS = (
    Scenario("training"),
    Scenario("evaluation", training=False),
    Scenario("inputs without gradient", inputs=False),
    Scenario("frozen weights", weights=False),
    Scenario("frozen logits", logits=False),
    Scenario("no gradient at all", inputs=False, weights=False, logits=False),
    Scenario("second derivatives", second=True),
    Scenario("second derivatives in evaluation", training=False, second=True),
)


def verify(
    model: nn.Module, batch: Any, *, execution: str = "auto", tolerance: float = 1e-9
) -> float:
    """Compares executors with the modules themselves, in float64, on copies of a model.

    Under the decisions made it compares outputs, the gradients of inputs, weights and coefficients,
    running statistics and their counters, and second derivatives: in training and evaluation mode,
    with inputs, weights or coefficients that need no gradient.

    Args:
        model: A model whose mutator has decided.
        batch: An input tensor, or a pair of inputs and targets, of which the targets are not used.
        execution: What is compared with ``eager``.
        tolerance: Largest difference allowed, relative to the largest value of its kind.

    Returns:
        The largest difference.

    Raises:
        NasError: If it exceeds `tolerance`; it says what differs in which scenario.
        OptionError: If nothing has decided the model.
    """
    x = batch[0] if isinstance(batch, (tuple, list)) else batch
    decisions = decisions_for(model)
    worst = 0.0
    for scenario in SCENARIOS:
        found = []
        for dispatch in (None, Dispatcher(chosen_executors(execution))):
            twin = copy.deepcopy(unwrap(model)).double()
            found.append(run(twin, x, decisions, dispatch, scenario))
        for name, difference in differences(*found).items():
            worst = max(worst, difference)
            if not difference <= tolerance:
                raise NasError(
                    f"With execution={execution!r}, {name} differ by {difference:.3g} of the "
                    f"largest value in the scenario '{scenario.name}', more than {tolerance:.3g}. "
                    "Search with execution='eager' and report the model."
                )
    return worst


def decisions_for(model: nn.Module) -> dict[str, Decision]:
    """Returns what the blocks of `model` are decided to do in this step.

    Raises:
        OptionError: If nothing has decided.
    """
    found: dict[str, Decision] = {}
    for place in keyed_blocks(model):
        binding = place.block.binding
        if binding is None or place.key not in binding.decisions:
            raise OptionError(
                f"Nothing has decided '{place.key}'. Make a mutator of the model and call its "
                "reset() first."
            )
        found[place.key] = binding.decisions[place.key]
    return found


def run(
    model: nn.Module,
    x: Tensor,
    decisions: Mapping[str, Decision],
    dispatch: Dispatch | None,
    scenario: Scenario,
) -> Found:
    """Returns what `model` computes in one scenario; `model` is changed.

    Args:
        model: A copy that nothing decides, in float64.
        x: The input, of any dtype.
        decisions: Key → decision; their coefficients become leaves of their own.
        dispatch: How it runs; None is module by module.
        scenario: The mode, and what needs gradients.
    """
    binding = Binding("verify")
    binding.attach(model)
    binding.dispatch = dispatch
    mixes: dict[str, Tensor] = {
        key: decision.mix.detach().double().requires_grad_(scenario.logits)
        for key, decision in decisions.items()
        if decision.mix is not None
    }
    binding.decisions = {
        key: replace(decision, mix=mixes.get(key)) for key, decision in decisions.items()
    }
    model.train(scenario.training)
    weights = [param for param in model.parameters() if param.requires_grad]
    for weight in weights:
        weight.requires_grad_(scenario.weights)
    given = x.detach().double().requires_grad_(scenario.inputs)
    # What a model draws at random, such as dropout, is drawn alike.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        outputs = [out for out in _tensors(model(given.clone())) if out.is_floating_point()]
    found: Found = {"outputs": [out.detach() for out in outputs]}
    generator = torch.Generator().manual_seed(1)
    kinds: dict[str, list[Tensor]] = {
        "inputs": [given],
        "weights": [*weights],
        "coefficients": [*mixes.values()],
    }
    wanted = {kind: kinds[kind] for kind in kinds if kinds[kind] and kinds[kind][0].requires_grad}
    if wanted:
        loss = torch.stack([(out * _like(out, generator)).sum() for out in outputs]).sum()
        grads = _gradients(loss, wanted, scenario.second)
        found.update({f"gradients of {kind}": each for kind, each in grads.items()})
        if scenario.second:
            reached = [g for each in grads.values() for g in each if g is not None]
            dots = [(g * _like(g, generator)).sum() for g in reached]
            again = _gradients(torch.stack(dots).sum() if dots else loss.detach(), wanted, False)
            found.update({f"second derivatives of {kind}": each for kind, each in again.items()})
    found["running statistics"] = [buffer.detach().clone() for buffer in model.buffers()]
    return {
        name: [None if value is None else value.detach() for value in values]
        for name, values in found.items()
    }


def differences(eager: Found, served: Found) -> dict[str, float]:
    """Returns the largest difference of each kind, relative to the largest value of the kind."""
    worst = {}
    for name, expected in eager.items():
        pairs = list(zip(expected, served[name], strict=True))
        scale = max((_largest(value) for value in expected if value is not None), default=0.0)
        gaps = [0.0]
        for a, b in pairs:
            if a is None or b is None:
                # A gradient of zeros may be told by None.
                rest = b if a is None else a
                gaps.append(0.0 if rest is None else _largest(rest))
            elif a.shape != b.shape:
                gaps.append(float("inf"))
            else:
                gap = _largest(a.double() - b.double())
                gaps.append(float("inf") if gap != gap else gap)
        worst[name] = max(gaps) / scale if scale > 0 else max(gaps)
    return worst


def _gradients(loss: Tensor, wanted: Mapping[str, Sequence[Tensor]], create_graph: bool) -> Found:
    """Returns the gradients of `loss`; None where it does not depend on a tensor."""
    if not loss.requires_grad:
        return {kind: [None] * len(tensors) for kind, tensors in wanted.items()}
    flat = [tensor for tensors in wanted.values() for tensor in tensors]
    rest = iter(torch.autograd.grad(loss, flat, create_graph=create_graph, allow_unused=True))
    return {kind: [next(rest) for _ in tensors] for kind, tensors in wanted.items()}


def _like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
    return drawn.to(tensor.device)


def _largest(tensor: Tensor) -> float:
    return float(tensor.detach().double().abs().max()) if tensor.numel() else 0.0


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from _tensors(list(output.values()))
    elif isinstance(output, (tuple, list)):
        for part in output:
            yield from _tensors(part)
