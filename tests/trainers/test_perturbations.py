"""Perturbations: the paper's moves of the mix, seen to act, and nothing left of them afterwards."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import Decision, LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError, UnknownNameError
from nas_plugin.mutators import mutators
from nas_plugin.trainers import (
    AdversarialPerturbation,
    BilevelTrainer,
    DropoutPerturbation,
    Perturbation,
    RandomPerturbation,
    SingleLevelTrainer,
    accuracy,
)

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
BATCH = (X, torch.arange(8) % 2)


def make_net() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        LayerChoice([nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh()), nn.Identity()]),
        nn.BatchNorm1d(4),
        LayerChoice([nn.Linear(4, 2), nn.Sequential(nn.Tanh(), nn.Linear(4, 2))]),
    ).double()
    net[1].running_mean.uniform_(-1, 1)
    net[1].running_var.uniform_(0.5, 2)
    return net


def make_trainer(perturbation: Any, mutator: Any = "darts", **options: Any) -> BilevelTrainer:
    net = make_net()
    data = ArrayDataset(X.repeat(4, 1), torch.arange(32) % 2)
    trainer = BilevelTrainer(
        net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), lr=0.1), 3,
        data, data, mutator=mutator, batch_size=8, device="cpu", progress=False,
        perturbation=perturbation, **options,
    )  # fmt: skip
    trainer.mutator.double()
    trainer.start_epoch(0)
    return trainer


def loss_of(net: nn.Sequential, p: Tensor, evaluates: bool) -> Tensor:
    """Writes the network out under coefficients ``(2, 3)``."""
    first, norm, second = net
    h = sum(p[0, k] * first[k](X) for k in range(3))
    mean, var = h.mean(0), h.var(0, unbiased=False)
    if evaluates:
        mean, var = norm.running_mean, norm.running_var
    h = (h - mean) / (var + norm.eps).sqrt() * norm.weight + norm.bias
    out = sum(p[1, k] * second[k](h) for k in range(2))
    return nn.functional.cross_entropy(out, BATCH[1])  # type: ignore[arg-type]


def projected(p: Tensor) -> Tensor:
    p = p.clamp(0, 1) * torch.tensor([[1, 1, 1], [1, 1, 0]])
    return p / p.sum(dim=1, keepdim=True)


def coefficients(trainer: BilevelTrainer) -> Tensor:
    alphas = trainer.alphas[0].detach()
    rows = [alphas[0].softmax(0), torch.cat([alphas[1, :2].softmax(0), alphas.new_zeros(1)])]
    return torch.stack(rows)


def uniform(perturbation: Any) -> Tensor:
    """What the perturbation's generator draws next, in [-1, 1]."""
    generator = torch.Generator()
    generator.set_state(perturbation.generator.get_state())
    return 2 * torch.rand(2, 3, generator=generator, dtype=torch.float64) - 1


def weight_gradients(trainer: BilevelTrainer) -> list[Tensor | None]:
    return trainer.gradients(BATCH, trainer.weights, perturbation=trainer.perturbation)[0]


def same(found: list[Tensor | None], wanted: Any) -> bool:
    pairs = zip(found, wanted, strict=True)
    return all(a is not None and torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in pairs)


def test_random_adds_uniform_noise_clamps_and_normalises() -> None:
    trainer = make_trainer(RandomPerturbation(eps_start=0.4))
    moved = projected(coefficients(trainer) + 0.4 * uniform(trainer.perturbation))
    wanted = torch.autograd.grad(loss_of(trainer.model, moved, False), trainer.weights)  # type: ignore[arg-type]

    assert same(weight_gradients(trainer), wanted)
    unmoved = torch.autograd.grad(
        loss_of(trainer.model, coefficients(trainer), False), trainer.weights  # type: ignore[arg-type]
    )  # fmt: skip
    trainer.perturbation = None
    assert same(weight_gradients(trainer), unmoved)
    assert not same(list(wanted), unmoved)


def attack(trainer: BilevelTrainer, eps: float, steps: int) -> Tensor:
    """SDARTS-ADV written out: seven steps of 2 eps / 7 along the sign, model in evaluation."""
    p = coefficients(trainer)
    net: Any = trainer.model
    point = projected(p + eps * uniform(trainer.perturbation))
    for _ in range(steps):
        leaf = point.clone().requires_grad_()
        (grad,) = torch.autograd.grad(loss_of(net, leaf, True), leaf)
        point = projected(p + (point + 2 * eps / steps * grad.sign() - p).clamp(-eps, eps))
    with torch.no_grad():
        rose = loss_of(net, point, True) >= loss_of(net, p, True)
    return point if rose else p


@pytest.mark.parametrize("epoch", [0, 2])
def test_the_attack_is_projected_gradient_ascent_on_the_real_batch(epoch: int) -> None:
    trainer = make_trainer(AdversarialPerturbation(eps_start=0.1, eps_end=0.5))
    trainer.start_epoch(epoch)
    point = attack(trainer, 0.1 if epoch == 0 else 0.5, 7)
    assert not torch.equal(point, coefficients(trainer))
    wanted = torch.autograd.grad(loss_of(trainer.model, point, False), trainer.weights)  # type: ignore[arg-type]

    assert same(weight_gradients(trainer), wanted)


class Watched(AdversarialPerturbation):
    """Remembers in which mode its losses were computed, and what it returned."""

    def __call__(self, decisions: Any, loss: Any) -> Any:
        self.modes: list[bool] = []
        self.model: nn.Module
        hook = self.model[1].register_forward_pre_hook(  # type: ignore[index]
            lambda module, _: self.modes.append(module.training)
        )
        self.given = decisions
        self.returned = super().__call__(decisions, loss)
        hook.remove()
        return self.returned


def test_after_the_step_mix_logits_mode_and_statistics_are_as_before() -> None:
    watched = Watched(eps_start=0.4)
    trainer = make_trainer(watched)
    watched.model = trainer.model
    plain = make_trainer(None)
    alphas = trainer.alphas[0].detach().clone()
    twin = copy.deepcopy(trainer.model)
    trainer.weight_step(BATCH)
    plain.weight_step(BATCH)

    # Nine losses: before, seven steps, after; then the pass of the step itself.
    assert watched.modes == [False] * 9
    assert trainer.model.training and all(m.training for m in trainer.model.modules())
    assert torch.equal(trainer.alphas[0], alphas) and trainer.alphas[0].grad is None
    assert all(
        torch.equal(watched.given[k].mix, d.mix)
        for k, d in trainer.mutator.binding.decisions.items()
    )
    assert not torch.equal(watched.returned["0"].mix, watched.given["0"].mix)
    # One update of the statistics, of the perturbed pass.
    tracked = trainer.model[1].num_batches_tracked  # type: ignore[index]
    assert tracked == twin[1].num_batches_tracked + 1  # type: ignore[index]


@pytest.mark.parametrize("name", ["random", "adversarial"])
def test_a_radius_of_0_is_the_plain_step_and_a_larger_one_is_not(name: str) -> None:
    made = {"random": RandomPerturbation, "adversarial": AdversarialPerturbation}[name]
    plain = weight_gradients(make_trainer(None))
    assert same(weight_gradients(make_trainer(made(eps_start=0.0, eps_end=0.0))), plain)
    assert not same(weight_gradients(make_trainer(made(eps_start=0.3))), plain)
    assert not same(weight_gradients(make_trainer(name)), plain)


@pytest.mark.parametrize("name", ["random", "adversarial", "dropout"])
def test_the_step_of_the_logits_never_sees_a_perturbation(name: str) -> None:
    plain = make_trainer(None).arch_gradient(BATCH, BATCH)[0]
    found = make_trainer(name).arch_gradient(BATCH, BATCH)[0]
    assert plain is not None and found is not None and torch.equal(plain, found)


def test_radii_grow_linearly_from_epoch_to_epoch() -> None:
    perturbation = RandomPerturbation()
    found = []
    for progress in (0.0, 0.5, 1.0):
        perturbation.start_epoch(progress)
        found.append(perturbation.eps)
    assert found == pytest.approx([0.03, 0.165, 0.3])


def test_mixes_that_do_not_compete_are_clamped_only() -> None:
    trainer = make_trainer(RandomPerturbation(eps_start=0.9), "fair_darts")
    p = trainer.alphas[0].detach().sigmoid() * torch.tensor([[1, 1, 1], [1, 1, 0]])
    moved = (p + 0.9 * uniform(trainer.perturbation)).clamp(0, 1)
    assert bool((moved == 0).any() or (moved == 1).any())
    wanted = torch.autograd.grad(loss_of(trainer.model, moved, False), trainer.weights)  # type: ignore[arg-type]

    assert same(weight_gradients(trainer), wanted)


def test_dropout_drops_candidates_without_parameters_and_scales_them_up_otherwise() -> None:
    trainer = make_trainer(DropoutPerturbation(rate=0.5))
    perturbation: Any = trainer.perturbation
    # Only the identity has none; both heads of the second choice have.
    assert perturbation.droppable == {"0": (2,)}
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    given = {"0": Decision(p, (0, 1, 2)), "2": Decision(p[:2], (0, 1))}
    seen = [perturbation(given, None)["0"].mix.tolist() for _ in range(400)]

    assert {tuple(m) for m in seen} == {(0.5, 0.3, 0.0), (0.5, 0.3, 0.4)}
    assert abs(sum(m[2] == 0 for m in seen) - 200) < 5 * 10
    perturbation.start_epoch(1.0)
    assert perturbation(given, None)["0"].mix.tolist() == p.tolist()


@pytest.mark.parametrize("name", ["random", "adversarial", "dropout"])
def test_draws_are_those_of_the_seed_and_go_on_from_a_saved_state(name: str) -> None:
    first, second = make_trainer(name), make_trainer(name)
    for trainer in (first, second):
        trainer.start_epoch(1)
    assert same(weight_gradients(first), weight_gradients(second))
    weight_gradients(first)
    second.load_state_dict(first.state_dict())
    assert same(weight_gradients(first), weight_gradients(second))


@pytest.mark.parametrize("name", ["random", "dropout"])
def test_parts_of_a_batch_share_one_draw(name: str) -> None:
    whole, parts = make_trainer(name), make_trainer(name, accumulate=4)
    for trainer in (whole, parts):
        # Batch statistics are those of a part; without them parts add up to the batch.
        trainer.model[1] = nn.Identity()  # type: ignore[index]
        trainer.start_epoch(1)
        params = [p for p in trainer.model.parameters()]
        trainer.weights = trainer.gradients.weights = params
    assert same(weight_gradients(whole), weight_gradients(parts))


@pytest.mark.parametrize("mutator", ["gdas", "reinmax", "data", "proxyless"])
@pytest.mark.parametrize("perturbation", ["random", "adversarial"])
def test_coefficients_that_leave_nothing_to_move_are_refused(
    mutator: str, perturbation: str
) -> None:
    with pytest.raises(OptionError, match=r"cannot be combined.*Mutators that it perturbs:.*darts"):
        make_trainer(perturbation, mutator)


def test_dropout_combines_with_hard_mixes_but_not_with_paths() -> None:
    make_trainer("dropout", "gdas").weight_step(BATCH)
    with pytest.raises(OptionError, match="single paths without coefficients"):
        make_trainer("dropout", "proxyless")


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(
        UnknownNameError, match=r"Unknown perturbation 'randm'. Did you mean 'random'"
    ):
        make_trainer("randm")
    with pytest.raises(OptionError, match="radius must not be negative"):
        RandomPerturbation(eps_start=-1.0)
    with pytest.raises(OptionError, match="steps must be at least 1"):
        AdversarialPerturbation(steps=0)
    with pytest.raises(OptionError, match=r"A rate lies in \[0, 1\)"):
        DropoutPerturbation(rate=1.0)
    net = nn.Sequential(LayerChoice([nn.Linear(4, 2), nn.Linear(4, 2)])).double()
    data = ArrayDataset(X, torch.arange(8) % 2)
    common: Any = (nn.functional.cross_entropy, accuracy,
                   torch.optim.SGD(net.parameters(), lr=0.1), 1, data, data)  # fmt: skip
    with pytest.raises(OptionError, match="drops candidates without parameters, and this model"):
        BilevelTrainer(net, *common, mutator="darts", perturbation="dropout", batch_size=4)
    with pytest.raises(OptionError, match="both gradients in one pass"):
        SingleLevelTrainer(net, *common, mutator="darts", perturbation="random")


def test_every_mutator_says_what_its_mixes_are() -> None:
    kinds = {name: mutators.get(name).mixes for name in mutators.names()}
    assert {n for n, k in kinds.items() if k == "none"} == {
        "enas", "fairnas", "proxyless", "random", "spos"
    }  # fmt: skip
    assert {n for n, k in kinds.items() if k == "hard"} == {"data", "gdas", "reinmax"}
    assert issubclass(RandomPerturbation, Perturbation)
