"""A net small enough to write out: three and two candidates in a row, then one input of two."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas_plugin.choice import InputChoice, LayerChoice
from nas_plugin.mutators import Mutator

A, B = (1.0, -2.0, 3.0), (0.5, 4.0)


class Scale(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by, dtype=torch.float64))
        self.ran = 0

    def forward(self, x: Tensor) -> Tensor:
        self.ran += 1
        return self.by * x.tanh()


class SmallNet(nn.Module):
    """Rows ``a``, ``b``, ``pick``; `written_out` is its loss without choice blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.a = LayerChoice([Scale(by) for by in A])
        self.b = LayerChoice([Scale(by) for by in B])
        self.pick = InputChoice(2, n_chosen=1)
        self.x = torch.tensor([2.0, -1.0, 0.3], dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        first = self.a(x)
        second = self.b(first)
        out: Tensor = self.pick([first, second]) + second
        return out

    @property
    def ran(self) -> list[int]:
        return [m.ran for m in self.modules() if isinstance(m, Scale)]

    def loss(self) -> Tensor:
        return (self(self.x) ** 2).sum()

    def written_out(self, mixes: Sequence[Tensor], active: Sequence[Sequence[int]]) -> Tensor:
        """The loss of coefficients ``(3, 3)`` of which only those of active candidates count."""
        (a, b, pick), (on_a, on_b, on_pick) = mixes, active
        first = torch.stack([a[k] * A[k] * self.x.tanh() for k in on_a]).sum(0)
        second = torch.stack([b[k] * B[k] * first.tanh() for k in on_b]).sum(0)
        inputs = (first, second)
        out = torch.stack([pick[k] * inputs[k] for k in on_pick]).sum(0) + second
        return (out**2).sum()


VALID = torch.tensor([[True, True, True], [True, True, False], [True, True, False]])
EVERY = ((0, 1, 2), (0, 1), (0, 1))


def gumbel(generator: torch.Generator, *shape: int) -> Tensor:
    """Gumbel noise written out: minus the logarithm of exponential draws."""
    return -torch.empty(*shape, dtype=torch.float64).exponential_(generator=generator).log()


def softmax(logits: Tensor) -> Tensor:
    """A softmax over each row's own candidates, written out."""
    e = torch.exp(logits) * VALID
    return e / e.sum(dim=1, keepdim=True)


def compared(net: SmallNet, mutator: Mutator, expected: Tensor, logits: Tensor) -> None:
    """Checks loss and gradient at the logits against those of `expected`, made of `logits`."""
    loss = net.loss()
    (found,) = torch.autograd.grad(loss, mutator.alphas)  # type: ignore[attr-defined]
    (wanted,) = torch.autograd.grad(expected, logits)
    assert torch.allclose(loss, expected, rtol=1e-10)
    assert torch.allclose(found, wanted, rtol=1e-9, atol=1e-12)
    assert bool((found[VALID] != 0).all())
    assert bool((found[~VALID] == 0).all())


def prepared(mutator: Mutator) -> tuple[Tensor, torch.Generator]:
    """Returns a copy of the logits and a generator that draws what the mutator will draw."""
    mutator.double()
    logits = mutator.alphas.detach().clone().requires_grad_()  # type: ignore[operator]
    generator = torch.Generator()
    generator.set_state(mutator.generator.get_state())
    return logits, generator
