"""The ENAS controller, written out step by step with its own weights."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import InputChoice, LayerChoice
from nas_plugin.mutators import EnasMutator

TANH_CONSTANT, OP_TANH_REDUCE, SKIP_TARGET = 1.1, 2.5, 0.3
INPUTS = ("a", "b", "d/0", "d/1", "d/2")


class Net(nn.Module):
    """Five choices: an operation, one of more candidates, any of two inputs, two of three, one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = LayerChoice([nn.Tanh(), nn.Identity()], key="a/op")
        self.second = LayerChoice([nn.Tanh(), nn.Identity(), nn.ReLU()], key="b/op")
        self.skips = InputChoice(choose_from=["a", "b"], key="c/skip")
        self.two = InputChoice(n_candidates=3, n_chosen=2, key="d")
        self.last = LayerChoice([nn.Tanh(), nn.Identity()], key="e/op")


def lstm(cell: nn.LSTMCell, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    gates = x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
    i, f, g, o = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def by_hand(m: EnasMutator, a: int, b: int, skips: set[int], two: set[int], e: int) -> Tensor:
    """Returns the log probability of an architecture."""

    def operation(kind: int, h: Tensor, chosen: int) -> tuple[Tensor, Tensor]:
        logits = TANH_CONSTANT / OP_TANH_REDUCE * torch.tanh(m.heads[kind](h)[0])
        return logits.log_softmax(0)[chosen], m.embeddings[kind].weight[chosen][None]

    def bounded(anchors: Tensor, h: Tensor) -> Tensor:
        q = m.attention(torch.tanh(m.anchor(anchors) + m.query(h)))[:, 0]
        return TANH_CONSTANT * torch.tanh(q)

    h = c = torch.zeros_like(m.start)
    h, c = lstm(m.cell, m.start, h, c)
    total, x = operation(0, h, a)
    memory_a = h
    h, c = lstm(m.cell, x, h, c)
    term, x = operation(1, h, b)
    total, memory_b = total + term, h

    h, c = lstm(m.cell, x, h, c)
    anchors = torch.cat([memory_a, memory_b])
    q = bounded(anchors, h)
    taken = torch.stack([-q, q]).softmax(0)[1]
    for i in range(2):
        total = total + (taken[i] if i in skips else 1 - taken[i]).log()
    x = sum((anchors[i] for i in skips), torch.zeros_like(h[0]))[None] / (1 + len(skips))

    h, c = lstm(m.cell, x, h, c)
    anchors = m.names.weight[[INPUTS.index(f"d/{i}") for i in range(3)]]
    q = bounded(anchors, h)
    weights = {pair: (q[pair[0]] + q[pair[1]]).exp() for pair in combinations(range(3), 2)}
    total = total + (weights[tuple(sorted(two))] / sum(weights.values())).log()
    x = sum(anchors[i] for i in two)[None] / 2

    h, c = lstm(m.cell, x, h, c)
    return total + operation(0, h, e)[0]


@pytest.fixture
def mutator() -> EnasMutator:
    made = EnasMutator(
        Net(),
        hidden=4,
        seed=1,
        tanh_constant=TANH_CONSTANT,
        op_tanh_reduce=OP_TANH_REDUCE,
        skip_target=SKIP_TARGET,
    ).double()
    with torch.no_grad():  # far from uniform, so that every factor shows
        for parameter in made.parameters():
            parameter.mul_(12)
    return made


@pytest.mark.parametrize("skips", [set(), {0}, {1}, {0, 1}])
@pytest.mark.parametrize("two", [{0, 1}, {0, 2}, {1, 2}])
def test_the_log_probability_is_that_of_the_equations(
    mutator: EnasMutator, skips: set[int], two: set[int]
) -> None:
    for a, b, e in ((0, 2, 1), (1, 0, 0)):
        architecture = {
            "a/op": str(a),
            "b/op": str(b),
            "c/skip": ["ab"[i] for i in sorted(skips)],
            "d": sorted(two),
            "e/op": str(e),
        }
        found = mutator.log_prob(architecture)
        assert found.item() == pytest.approx(by_hand(mutator, a, b, skips, two, e).item(), rel=1e-9)


def test_draws_are_as_probable_as_the_equations_say(mutator: EnasMutator) -> None:
    with torch.no_grad():
        expected = sum(
            by_hand(mutator, a, b, skips, two, e).exp()
            for a in range(2)
            for b in range(3)
            for skips in ({0}, {0, 1})
            for two in ({0, 1}, {0, 2}, {1, 2})
            for e in range(2)
        )
        n = 600
        taken = 0
        for _ in range(n):
            mutator.reset()
            taken += 0 in mutator.binding.decisions["c/skip"].active

    assert taken / n == pytest.approx(float(expected), abs=0.07)
