"""ProxylessNAS: gates, the gradient to the logits, rescaling, expected latency."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import Cell, InputChoice, LayerChoice
from nas_plugin.errors import ChoiceError, OptionError, SpaceError
from nas_plugin.mutators import ProxylessMutator
from nas_plugin.profiling import CostTable

ALPHAS = torch.tensor([0.5, -0.3, 0.9, 0.1], dtype=torch.float64)


class Affine(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain, dtype=torch.float64))
        self.kept: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.kept.append(torch.is_grad_enabled())
        return self.gain * x + self.gain**2


def make(
    variant: str = "two", seed: int = 0, **options: object
) -> tuple[nn.Module, ProxylessMutator]:
    model = nn.Sequential(LayerChoice([Affine(g) for g in (1.0, -0.5, 2.0, 0.25)]))
    mutator = ProxylessMutator(model, variant=variant, seed=seed, **options).double()  # type: ignore[arg-type]
    with torch.no_grad():
        mutator.alphas.copy_(ALPHAS[None])
    return model, mutator


def loss_of(y: Tensor) -> Tensor:
    return (y**3).sum()


def test_the_weight_step_runs_one_path_by_its_probability() -> None:
    model, mutator = make()
    n, x = 1500, torch.ones(1, dtype=torch.float64)
    for _ in range(n):
        with torch.no_grad():
            mutator.reset()
        assert mutator.binding.decisions["0"].mix is None
        model(x)
    p = ALPHAS.softmax(0)
    for candidate, share in zip(model[0], p.tolist(), strict=True):
        assert abs(len(candidate.kept) - n * share) < 5 * math.sqrt(n * share * (1 - share))


@pytest.mark.parametrize("variant", ["two", "full"])
def test_the_gate_gradient_equals_the_papers_formula(variant: str) -> None:
    """dL/dalpha_i = sum_j dL/dg_j p_j (delta_ij - p_i), over the candidates drawn."""
    x = torch.tensor([0.7, -1.2], dtype=torch.float64)
    for seed in range(5):
        model, mutator = make(variant, seed)
        mutator.reset()
        decision = mutator.binding.decisions["0"]
        assert decision.mix is not None
        drawn = list(decision.active)
        assert len(drawn) == (2 if variant == "two" else 4)
        opened = decision.mix.argmax().item()
        assert decision.mix.tolist() == [float(i == opened) for i in range(4)]
        assert set(decision.watched) == set(drawn) - {opened}

        loss_of(model(x)).backward()

        outs = [c.gain.item() * x + c.gain.item() ** 2 for c in model[0]]
        slope = 3 * outs[opened] ** 2  # dL/dy at y = the open candidate's output
        p = ALPHAS[drawn].softmax(0)
        expected = torch.zeros(4, dtype=torch.float64)
        for i, a in enumerate(drawn):
            for j, b in enumerate(drawn):
                expected[a] += (slope * outs[b]).sum() * p[j] * (float(i == j) - p[i])
        assert mutator.alphas.grad is not None
        assert torch.allclose(mutator.alphas.grad[0], expected, rtol=1e-10)


def test_the_two_path_gradient_follows_from_the_full_mixture() -> None:
    """For a linear loss, the mean over gates and pairs is the mixture's, pair by pair.

    With ``L = <u, y>`` the mixture of a pair, ``y = q o_a + (1 - q) o_b``, has the gradient
    ``q (1 - q) <u, o_a - o_b>``, whichever gate is open.
    """
    x = torch.tensor([0.7, -1.2], dtype=torch.float64)
    u = torch.tensor([1.5, -0.4], dtype=torch.float64)
    pairs = set()
    for seed in range(12):
        model, mutator = make("two", seed)
        mutator.reset()
        a, b = mutator.binding.decisions["0"].active
        (u * model(x)).sum().backward()
        logits = ALPHAS.clone().requires_grad_()
        q = logits[[a, b]].softmax(0)
        outs = [c.gain.detach() * x + c.gain.detach() ** 2 for c in model[0]]
        (u * (q[0] * outs[a] + q[1] * outs[b])).sum().backward()
        assert mutator.alphas.grad is not None and logits.grad is not None
        assert torch.allclose(mutator.alphas.grad[0], logits.grad)
        pairs.add((a, b))
    assert len(pairs) >= 4


def test_pairs_are_drawn_by_probability_without_replacement() -> None:
    _, mutator = make()
    p = ALPHAS.softmax(0)
    n = 1500
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(n):
        mutator.reset()
        pair = mutator.binding.decisions["0"].active
        counts[pair] = counts.get(pair, 0) + 1
    for a in range(4):
        for b in range(a + 1, 4):
            share = float(p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b]))
            assert abs(counts.get((a, b), 0) - n * share) < 5 * math.sqrt(n * share)


def test_after_the_step_the_unsampled_keep_their_probability() -> None:
    model, mutator = make()
    optimizer = torch.optim.Adam(mutator.parameters(), lr=0.1, betas=(0.0, 0.999))
    x = torch.ones(2, dtype=torch.float64)
    for _ in range(20):
        before = mutator.alphas.detach()[0].softmax(0)
        mutator.reset()
        drawn = list(mutator.binding.decisions["0"].active)
        optimizer.zero_grad()
        loss_of(model(x)).backward()
        optimizer.step()
        moved = mutator.alphas.detach()[0].softmax(0)
        mutator.after_arch_step()
        after = mutator.alphas.detach()[0].softmax(0)
        others = [i for i in range(4) if i not in drawn]
        assert torch.allclose(after[others], before[others], rtol=1e-12)
        assert not torch.allclose(moved[others], before[others], rtol=1e-6)
        # The pair's odds are those that the step gave.
        assert torch.isclose(after[drawn[0]] / after[drawn[1]], moved[drawn[0]] / moved[drawn[1]])


def test_a_shut_gate_keeps_nothing_for_backward() -> None:
    model, mutator = make()
    mutator.reset()
    decision = mutator.binding.decisions["0"]
    loss_of(model(torch.ones(2, dtype=torch.float64))).backward()

    for i, candidate in enumerate(model[0]):
        if i in decision.active:
            assert candidate.kept == [i not in decision.watched]
        else:
            assert candidate.kept == []
        has_gradient = candidate.gain.grad is not None
        assert has_gradient == (i in decision.active and i not in decision.watched)


def test_the_expected_latency_and_its_gradient() -> None:
    costs = [3.0, 1.0, 4.0, 0.5]
    table = CostTable("ms", {"0": {str(i): c for i, c in enumerate(costs)}}, fixed=2.0)
    _, mutator = make("full", latency=table, latency_weight=0.1)
    logits = ALPHAS.clone().requires_grad_()
    expected = 2.0 + (logits.softmax(0) * torch.tensor(costs, dtype=torch.float64)).sum()
    expected.backward()

    mutator.expected_latency().backward()

    assert torch.isclose(mutator.expected_latency(), expected)
    assert mutator.alphas.grad is not None and logits.grad is not None
    assert torch.allclose(mutator.alphas.grad[0], logits.grad)
    penalty = mutator.penalty({})
    assert penalty is not None and torch.isclose(penalty, 0.1 * expected)


def test_with_two_paths_latency_moves_the_drawn_logits_only() -> None:
    costs = [3.0, 1.0, 4.0, 0.5]
    table = CostTable("ms", {"0": {str(i): c for i, c in enumerate(costs)}})
    _, mutator = make("two", latency=table, latency_weight=1.0)
    mutator.reset()
    a, b = mutator.binding.decisions["0"].active
    latency = mutator.expected_latency()
    latency.backward()
    p = ALPHAS.softmax(0)
    q = p[a] / (p[a] + p[b])
    slope = (p[a] + p[b]) * q * (1 - q) * (costs[a] - costs[b])
    expected = torch.zeros(4, dtype=torch.float64)
    expected[a], expected[b] = slope, -slope

    assert torch.isclose(latency, (p * torch.tensor(costs, dtype=torch.float64)).sum())
    assert mutator.alphas.grad is not None
    assert torch.allclose(mutator.alphas.grad[0], expected)


class Inputs(nn.Module):
    def __init__(self, reduction: str = "sum") -> None:
        super().__init__()
        self.one = InputChoice(n_candidates=3, n_chosen=1, key="one")
        self.two = InputChoice(n_candidates=3, n_chosen=2, reduction=reduction, key="two")
        self.any = InputChoice(n_candidates=3, n_chosen=None, key="any")

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        return [self.one(xs), self.two(xs), self.any(xs)]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_input_choices_give_the_sampled_inputs_and_get_gradients(reduction: str) -> None:
    model = Inputs(reduction).double()
    mutator = ProxylessMutator(model).double()
    xs = [torch.tensor(v, dtype=torch.float64) for v in (1.0, 10.0, 100.0)]
    seen = set()
    for _ in range(20):
        mutator.alphas.grad = None
        mutator.reset()
        one, two, some = model(xs)
        assert one.item() in (1, 10, 100)
        scale = 2 if reduction == "mean" else 1
        assert round(two.item() * scale, 9) in (11, 101, 110)
        assert some.item() in {a + b + c for a in (0, 1) for b in (0, 10) for c in (0, 100)}
        seen.add((one.item(), two.item(), some.item()))
        (one + two + some).backward()
        assert mutator.alphas.grad is not None and mutator.alphas.grad.abs().sum(1).min() > 0
    assert len(seen) > 5


def test_where_a_gate_cannot_shut_the_error_says_so() -> None:
    model = nn.Sequential(LayerChoice([nn.Tanh(), nn.Identity()], reduction="concat"))
    with pytest.raises(ChoiceError, match="reduction='concat'"):
        ProxylessMutator(model)
    cell = Cell("c", lambda *_: {"a": nn.Tanh(), "b": nn.Identity()}, n_nodes=2, output="last")
    edges = {f"c_n{n}_p{p}": {"a": 1.0, "b": 2.0} for n in (2, 3) for p in range(n)}
    with pytest.raises(SpaceError, match="no expectation"):
        ProxylessMutator(cell, latency=CostTable("ms", edges), latency_weight=1.0)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(OptionError, match="two, full"):
        make("three")
    with pytest.raises(OptionError, match="latency table"):
        make(latency_weight=1.0)
    with pytest.raises(SpaceError, match="does not know"):
        make(latency=CostTable("ms", {"other": {"0": 1.0}}))


@pytest.mark.parametrize("variant", ["two", "full"])
def test_a_block_that_averages_gives_the_sampled_candidate_itself(variant: str) -> None:
    class Times(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: Tensor) -> Tensor:
            return self.factor * x

    block = LayerChoice([Times(1.0), Times(10.0), Times(100.0)], reduction="mean", key="block")
    model = nn.Sequential(block)
    mutator = ProxylessMutator(model, variant=variant)
    found = set()
    for _ in range(30):
        mutator.reset()
        found.add(round(float(model(torch.ones(1)).detach()), 4))

    assert found == {1.0, 10.0, 100.0}
