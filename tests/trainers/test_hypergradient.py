"""Second-order gradients against plain tensors, autograd and each other, in float64."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.trainers import BilevelTrainer, accuracy

LR, MOMENTUM, DECAY = 0.1, 0.9, 3e-2
BATCH = tuple[Tensor, Tensor]


class Net(nn.Module):
    """Two mixed layers; smooth where `activation` is."""

    def __init__(self, activation: type[nn.Module]) -> None:
        super().__init__()
        self.one = LayerChoice([nn.Linear(5, 5), nn.Sequential(nn.Linear(5, 5), activation())])
        self.two = LayerChoice([nn.Linear(5, 3), nn.Sequential(activation(), nn.Linear(5, 3))])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(self.one(x))
        return out


def make_trainer(
    activation: type[nn.Module] = nn.Tanh,
    loss: Any = nn.functional.cross_entropy,
    **options: Any,
) -> BilevelTrainer:
    """Returns a trainer whose momentum buffers are filled by three weight steps."""
    torch.manual_seed(1)
    net = Net(activation).double()
    x, y = torch.randn(64, 5, dtype=torch.float64), torch.randint(0, 3, (64,))
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    trainer = BilevelTrainer(
        net, loss, accuracy, optimizer, 1, ArrayDataset(x, y),
        ArrayDataset(x, y), mutator="darts", batch_size=8, device="cpu", unrolled=True, **options,
    )  # fmt: skip
    trainer.mutator.double()
    with torch.no_grad():
        trainer.alphas[0].add_(torch.randn(2, 2, dtype=torch.float64))
    for _ in range(3):
        trainer.weight_step(batch_of(7))
    return trainer


def batch_of(seed: int) -> BATCH:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(8, 5, generator=generator, dtype=torch.float64),
        torch.randint(0, 3, (8,), generator=generator),
    )


def loss_by_hand(
    weights: dict[str, Tensor], alphas: Tensor, net: Net, batch: BATCH, smoothing: float = 0.0
) -> Tensor:
    """Writes the mixed network out, without choice blocks."""
    p = alphas.softmax(dim=1)
    act = type(net.one["1"][1])()

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x, y = batch
    h = p[0, 0] * linear("one.0", x) + p[0, 1] * act(linear("one.1.0", x))
    out = p[1, 0] * linear("two.0", h) + p[1, 1] * linear("two.1.1", act(h))
    log_p = out - out.exp().sum(1, keepdim=True).log()
    picked = log_p[torch.arange(len(y)), y]
    return -((1 - smoothing) * picked + smoothing * log_p.mean(1)).mean()


def plain(trainer: BilevelTrainer) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Returns copies of weights, momentum buffers and logits."""
    named = dict(trainer.model.named_parameters())
    weights = {name: w.detach().clone().requires_grad_() for name, w in named.items()}
    buffers = {
        name: trainer.optimizer.state[w]["momentum_buffer"].clone() for name, w in named.items()
    }
    return weights, buffers, trainer.alphas[0].detach().clone().requires_grad_()


def virtual(
    weights: dict[str, Tensor], buffers: dict[str, Tensor], grads: tuple[Tensor, ...]
) -> dict[str, Tensor]:
    return {
        name: w - LR * (MOMENTUM * buffers[name] + grad + DECAY * w)
        for (name, w), grad in zip(weights.items(), grads, strict=True)
    }


# The virtual step is not clipped, and the logits' loss not smoothed, as in the authors' code.
@pytest.mark.parametrize(
    ("activation", "smoothing", "options"),
    [
        (nn.Tanh, 0.0, {}),
        (nn.ReLU, 0.0, {}),
        (nn.Tanh, 0.0, {"grad_clip": 1e-2}),
        (nn.Tanh, 0.3, {"loss": nn.CrossEntropyLoss(label_smoothing=0.3)}),
        (nn.Tanh, 0.3, {"loss": partial(nn.functional.cross_entropy, label_smoothing=0.3)}),
    ],
    ids=["tanh", "relu", "clipped", "smoothed", "smoothed by a function"],
)
def test_finite_difference_equals_its_formula_in_plain_tensors(
    activation: type[nn.Module], smoothing: float, options: dict[str, Any]
) -> None:
    trainer = make_trainer(activation, **options)
    net, train, valid = trainer.model, batch_of(11), batch_of(12)
    weights, buffers, alphas = plain(trainer)

    grads = torch.autograd.grad(
        loss_by_hand(weights, alphas, net, train, smoothing), list(weights.values())
    )
    stepped = {n: w.detach().requires_grad_() for n, w in virtual(weights, buffers, grads).items()}
    direct, *v = torch.autograd.grad(
        loss_by_hand(stepped, alphas, net, valid), [alphas, *stepped.values()]
    )
    eps = 0.01 / torch.cat([g.flatten() for g in v]).norm()
    around = []
    for sign in (1, -1):
        moved = {
            n: w.detach() + sign * eps * g for (n, w), g in zip(weights.items(), v, strict=True)
        }
        around.append(
            torch.autograd.grad(loss_by_hand(moved, alphas, net, train, smoothing), alphas)[0]
        )
    expected = direct - LR * (around[0] - around[1]) / (2 * eps)

    (found,) = trainer.arch_gradient(train, valid)

    assert (found - expected).abs().max() < 1e-8
    assert (direct - expected).abs().max() > 1e-5, "the second-order term must not vanish"


def test_exact_form_equals_autograd_through_the_virtual_step() -> None:
    trainer = make_trainer(hessian="exact")
    train, valid = batch_of(21), batch_of(22)
    weights, buffers, alphas = plain(trainer)
    grads = torch.autograd.grad(
        loss_by_hand(weights, alphas, trainer.model, train),
        list(weights.values()),
        create_graph=True,
    )
    stepped = virtual(weights, buffers, grads)
    expected = torch.autograd.grad(loss_by_hand(stepped, alphas, trainer.model, valid), alphas)[0]

    (found,) = trainer.arch_gradient(train, valid)

    assert (found - expected).abs().max() < 1e-12


@pytest.mark.parametrize(("hessian", "passes"), [("finite_difference", 3), ("exact", 2)])
def test_the_pass_at_the_virtual_weights_moves_no_statistics(hessian: Any, passes: int) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm1d(5), LayerChoice([nn.Linear(5, 3), nn.Linear(5, 3)]))
    net = net.double()
    x, y = torch.randn(64, 5, dtype=torch.float64), torch.randint(0, 3, (64,))
    data = ArrayDataset(x, y)
    trainer = BilevelTrainer(
        net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), lr=LR), 1,
        data, data, mutator="darts", batch_size=8, device="cpu", unrolled=True, hessian=hessian,
    )  # fmt: skip
    trainer.mutator.double()
    train, valid = batch_of(11), batch_of(12)

    trainer.arch_gradient(train, valid)

    # Every pass but that at w' is on the training batch, whose statistics no weight changes.
    assert int(net[0].num_batches_tracked) == passes
    expected = (1 - 0.9**passes) * train[0].mean(0)
    assert torch.allclose(net[0].running_mean, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("hessian", ["finite_difference", "exact"])
def test_a_penalty_of_the_logits_joins_the_second_order(
    hessian: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, valid = batch_of(11), batch_of(12)
    trainer = make_trainer(hessian=hessian)
    (without,) = trainer.arch_gradient(train, valid)

    def penalty(decisions: Any) -> Tensor:
        return torch.stack([decision.mix.square().sum() for decision in decisions.values()]).sum()

    monkeypatch.setattr(trainer.mutator, "penalty", penalty)
    (found,) = trainer.arch_gradient(train, valid)
    alphas = trainer.alphas[0].detach().clone().requires_grad_()
    (own,) = torch.autograd.grad(alphas.softmax(1).square().sum(), alphas)
    assert own.abs().max() > 1e-3
    assert torch.allclose(found - without, own, rtol=0, atol=1e-9)


def test_held_out_figures_are_not_smoothed() -> None:
    trainer = make_trainer(loss=nn.CrossEntropyLoss(label_smoothing=0.3))
    net, (weights, _, alphas) = trainer.model, plain(trainer)
    x, y = (torch.cat(parts) for parts in zip(*trainer.valid_loader.batches(0), strict=True))
    trainer.mutator.reset()
    expected = float(loss_by_hand(weights, alphas, net, (x, y)).detach())
    assert trainer.validate()["loss"] == pytest.approx(expected, abs=1e-12)


class Doubled(nn.CrossEntropyLoss):
    """A loss of one's own, which only begins as torch's."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return 2 * super().forward(output, target)


def test_a_loss_of_ones_own_stays_itself_without_its_smoothing() -> None:
    loss = Doubled(label_smoothing=0.3)
    trainer = make_trainer(loss=loss)
    net, (weights, _, alphas) = trainer.model, plain(trainer)
    x, y = (torch.cat(parts) for parts in zip(*trainer.valid_loader.batches(0), strict=True))
    trainer.mutator.reset()
    expected = 2 * float(loss_by_hand(weights, alphas, net, (x, y)).detach())
    assert trainer.validate()["loss"] == pytest.approx(expected, abs=1e-12)
    assert loss.label_smoothing == 0.3


def test_another_loss_of_held_out_batches_is_used() -> None:
    trainer = make_trainer(valid_loss=lambda output, target: output.sum() * 0 + 7)
    assert trainer.validate()["loss"] == 7
    grads = trainer.arch_gradient(batch_of(1), batch_of(2))
    assert all(grad is None or not grad.any() for grad in grads)


def test_both_forms_meet_on_a_smooth_net_as_eps_goes_to_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nas_plugin.trainers import hypergradient

    exact = make_trainer(hessian="exact").arch_gradient(batch_of(31), batch_of(32))[0]
    trainer = make_trainer()
    distances = []
    weights = trainer.weights
    train = lambda: trainer.gradients(batch_of(31), trainer.alphas)[0]  # noqa: E731
    for scale in (1.0, 0.1, 0.01):
        product = hypergradient.finite_difference(weights, train, radius=0.01 * scale)
        found = hypergradient.second_order(
            trainer.optimizer,
            weights,
            trainer.alphas,
            lambda wrt: trainer.gradients(batch_of(31), wrt)[0],
            lambda wrt: trainer.gradients(batch_of(32), wrt)[0],
            product,
        )[0]
        distances.append(float((found - exact).abs().max()))

    # A central difference is of second order: a tenth of eps is a hundredth of the error.
    assert distances[1] < distances[0] / 50
    assert distances[2] < 1e-8


@pytest.mark.parametrize("hessian", ["finite_difference", "exact"])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(hessian: str) -> None:
    whole = make_trainer(hessian=hessian).arch_gradient(batch_of(1), batch_of(2))[0]

    for accumulate in (2, 3):
        parts = make_trainer(hessian=hessian, accumulate=accumulate)
        assert (parts.arch_gradient(batch_of(1), batch_of(2))[0] - whole).abs().max() < 1e-10


def test_weights_are_untouched_by_the_architecture_step() -> None:
    trainer = make_trainer()
    before = copy.deepcopy(trainer.model.state_dict())

    trainer.arch_step(batch_of(1), batch_of(2))

    after = trainer.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.requires_grad for p in trainer.weights)


def test_virtual_step_is_the_step_that_the_optimizer_takes() -> None:
    from nas_plugin.trainers.hypergradient import virtual_weights

    trainer = make_trainer()
    trainer.model.one[0].requires_grad_(False)  # frozen: neither decay nor momentum moves it
    grads, _ = trainer.gradients(batch_of(5), trainer.weights)
    expected = virtual_weights(trainer.optimizer, trainer.weights, grads)

    trainer.weight_step(batch_of(5))

    for found, wanted in zip(trainer.weights, expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-14, rtol=0)


def test_parameter_groups_keep_their_own_learning_rates() -> None:
    trainer = make_trainer(hessian="exact")
    names = [name for name, _ in trainer.model.named_parameters()]
    rates = {name: 0.05 * (i + 1) for i, name in enumerate(names)}
    trainer.optimizer = torch.optim.SGD(
        [{"params": [p], "lr": rates[n]} for n, p in trainer.model.named_parameters()], lr=LR
    )
    alphas = trainer.alphas[0].detach().clone().requires_grad_()
    weights = {n: p.detach().clone().requires_grad_() for n, p in trainer.model.named_parameters()}
    grads = torch.autograd.grad(
        loss_by_hand(weights, alphas, trainer.model, batch_of(1)),
        list(weights.values()),
        create_graph=True,
    )
    stepped = {n: w - rates[n] * g for (n, w), g in zip(weights.items(), grads, strict=True)}
    loss = loss_by_hand(stepped, alphas, trainer.model, batch_of(2))
    expected = torch.autograd.grad(loss, alphas)[0]

    found = trainer.arch_gradient(batch_of(1), batch_of(2))[0]

    assert (found - expected).abs().max() < 1e-12


def test_optimizers_other_than_plain_sgd_are_refused() -> None:
    trainer = make_trainer()
    for optimizer in (
        torch.optim.Adam(trainer.model.parameters()),
        torch.optim.SGD(trainer.model.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    ):
        trainer.optimizer = optimizer
        with pytest.raises(OptionError, match="plain SGD|follows SGD"):
            trainer.arch_gradient(batch_of(1), batch_of(2))


def test_the_mixed_net_by_hand_is_the_supernet() -> None:
    trainer = make_trainer()
    trainer.mutator.reset()
    named = dict(trainer.model.named_parameters())
    x, y = batch_of(3)
    out = functional_call(trainer.model, named, (x,))
    by_hand = loss_by_hand(named, trainer.alphas[0], trainer.model, (x, y))

    assert torch.allclose(nn.functional.cross_entropy(out, y), by_hand)


def test_the_product_with_a_vector_of_zeros_is_zero() -> None:
    from nas_plugin.trainers import hypergradient

    trainer = make_trainer()
    product = hypergradient.finite_difference(
        trainer.weights, lambda: trainer.gradients(batch_of(31), trainer.alphas)[0]
    )
    (found,) = product([torch.zeros_like(w) for w in trainer.weights])
    assert found is not None and not found.any()
