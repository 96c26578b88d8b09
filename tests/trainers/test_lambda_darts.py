"""Lambda-DARTS against double backward through a network written out, in float64."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.trainers import LambdaDartsTrainer, accuracy

X = torch.randn(32, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (32,), generator=torch.Generator().manual_seed(1))
L = 3


class Net(nn.Module):
    """Three cells of two blocks, which share their keys, and one that stands alone."""

    def __init__(self, cells: int = L) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.cells = nn.ModuleList(
            nn.ModuleList(
                LayerChoice({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}, key=f"normal_{i}")
                for i in range(2)
            )
            for _ in range(cells)
        )
        self.last = LayerChoice({"a": nn.Linear(4, 3), "b": nn.Linear(4, 3)}, key="reduce")

    def forward(self, x: Tensor) -> Tensor:
        for one, two in self.cells:
            x = two(one(x).sin()).tanh()
        out: Tensor = self.last(x)
        return out


def make(net: nn.Module | None = None, **options: Any) -> LambdaDartsTrainer:
    net = (net or Net()).double()
    data = ArrayDataset(X, Y)
    trainer = LambdaDartsTrainer(
        net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), lr=0.1), 3,
        data, data, batch_size=8, device="cpu", progress=False, **options,
    )  # fmt: skip
    trainer.mutator.double()
    with torch.no_grad():
        noise = torch.randn(3, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        trainer.alphas[0].copy_(noise)
    return trainer


def aligned_by_hand(net: Net, alphas: Tensor, batch: Any, strength: float) -> list[Tensor]:
    """Differentiates loss - strength x mean cosine, both taken from one graph."""
    x, y = batch
    p = alphas.softmax(1)
    mixes = [p[:2].flatten().clone().requires_grad_() for _ in range(L)]
    for (one, two), m in zip(net.cells, mixes, strict=True):
        h = (m[0] * one["a"](x) + m[1] * one["b"](x)).sin()
        x = (m[2] * two["a"](h) + m[3] * two["b"](h)).tanh()
    out = p[2, 0] * net.last["a"](x) + p[2, 1] * net.last["b"](x)
    loss = nn.functional.cross_entropy(out, y)
    grads = torch.autograd.grad(loss, mixes, create_graph=True)
    pairs = list(itertools.combinations(grads, 2))
    mean = sum(nn.functional.cosine_similarity(a, b, dim=0) for a, b in pairs) / len(pairs)
    return list(torch.autograd.grad(loss - strength * mean, list(net.parameters())))


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"execution": "eager"}])
def test_the_gradient_is_that_of_the_aligned_loss(options: dict[str, Any]) -> None:
    trainer = make(strength=0.7, **options)
    trainer.epoch = 1
    assert trainer.weight == pytest.approx(0.35)
    batch = (X[:8], Y[:8])
    found, _ = trainer.aligned_gradient(batch)

    wanted = aligned_by_hand(trainer.model, trainer.alphas[0].detach(), batch, 0.35)
    plain = trainer.gradients(batch, trainer.weights)[0]
    assert max(float((a - b).abs().max()) for a, b in zip(wanted, plain, strict=True)) > 1e-2
    for a, b in zip(found, wanted, strict=True):
        assert a is not None and torch.allclose(a, b, atol=1e-6)


def test_afterwards_every_block_has_its_own_key_again() -> None:
    trainer = make()
    trainer.train()
    keys = [b.key for b in trainer.model.modules() if isinstance(b, LayerChoice)]
    assert keys == ["normal_0", "normal_1"] * L + ["reduce"]
    trainer.mutator.reset()
    trainer.model(X)


def test_the_first_epoch_is_darts() -> None:
    trainer = make()
    batch = (X[:8], Y[:8])
    before = [w.detach().clone() for w in trainer.weights]
    grads = trainer.gradients(batch, trainer.weights)[0]
    trainer.weight_step(batch)
    for w, b, g in zip(trainer.weights, before, grads, strict=True):
        assert torch.allclose(w, b - 0.1 * g)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(OptionError, match="occur equally often"):
        make(Net(cells=1))
    with pytest.raises(OptionError, match="the same mixes in all passes"):
        make(mutator="gdas")
    with pytest.raises(OptionError, match="has no place"):
        make(perturbation="random")
