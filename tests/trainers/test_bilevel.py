"""What a bilevel step touches, what it does not, and in which precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin import DartsMutator, LayerChoice, RandomMutator
from nas_plugin.data import ArrayDataset, make_loader
from nas_plugin.errors import OptionError, TrainingError
from nas_plugin.trainers import BilevelTrainer, DartsTrainer, accuracy
from nas_plugin.trainers.metrics import MetricSet


def make_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        LayerChoice([nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh())]),
        LayerChoice([nn.Linear(4, 2), nn.Sequential(nn.Tanh(), nn.Linear(4, 2))]),
    )


def make_trainer(net: nn.Module | None = None, **options: Any) -> DartsTrainer:
    net = make_net() if net is None else net
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    data = ArrayDataset(x, (x.sum(dim=1) > 0).long())
    optimizer = options.pop("optimizer", None) or torch.optim.SGD(net.parameters(), lr=0.1)
    return DartsTrainer(
        net, nn.functional.cross_entropy, accuracy, optimizer, options.pop("num_epochs", 1), data,
        data, **{"batch_size": 8, "device": "cpu", **options},
    )  # fmt: skip


BATCH = (torch.randn(8, 4, generator=torch.Generator().manual_seed(2)), torch.arange(8) % 2)
OTHER = (torch.randn(8, 4, generator=torch.Generator().manual_seed(3)), torch.arange(8) % 2)


@pytest.mark.parametrize("unrolled", [False, True])
def test_a_step_moves_weights_and_logits_each_by_its_own_optimizer(unrolled: bool) -> None:
    trainer = make_trainer(unrolled=unrolled)
    weights = [w.detach().clone() for w in trainer.weights]
    alphas = trainer.alphas[0].detach().clone()

    trainer.arch_step(BATCH, OTHER)
    assert all(torch.equal(a, b) for a, b in zip(weights, trainer.weights, strict=True))
    assert (trainer.alphas[0] != alphas).all(), "gradients must reach every logit"
    alphas = trainer.alphas[0].detach().clone()

    trainer.weight_step(BATCH)
    assert torch.equal(trainer.alphas[0], alphas)
    assert all(not torch.equal(a, b) for a, b in zip(weights, trainer.weights, strict=True))


def test_optimizers_share_no_parameter() -> None:
    trainer = make_trainer()
    weights = {id(p) for g in trainer.optimizer.param_groups for p in g["params"]}
    alphas = {id(p) for g in trainer.arch_optimizer.param_groups for p in g["params"]}

    assert weights == {id(p) for p in trainer.model.parameters()}
    assert alphas == {id(p) for p in trainer.mutator.parameters()}
    assert not weights & alphas


def test_a_logit_in_the_weight_optimizer_is_refused() -> None:
    net = make_net()
    mutator = DartsMutator(net)
    both = torch.optim.SGD([*net.parameters(), *mutator.parameters()], lr=0.1)
    with pytest.raises(OptionError, match="belong to the mutator and to the weight optimizer"):
        make_trainer(net, mutator=mutator, optimizer=both)


def test_a_weight_in_the_architecture_optimizer_is_refused() -> None:
    net = make_net()
    with pytest.raises(OptionError, match="architecture optimizer holds a network weight"):
        make_trainer(net, arch_optimizer=torch.optim.Adam(net.parameters()))


def test_the_passes_compute_only_what_they_need() -> None:
    trainer = make_trainer()
    needed: list[tuple[bool, bool]] = []

    def note(module: nn.Module, args: Any, out: Tensor) -> None:
        mix = trainer.mutator.binding.decisions["0"].mix
        assert mix is not None
        needed.append((module.weight.requires_grad, mix.requires_grad))

    trainer.model[0][0].register_forward_hook(note)
    trainer.train_step((BATCH, OTHER))

    assert needed == [(False, True), (True, False)]
    assert all(w.requires_grad and w.grad is None for w in trainer.weights)


def test_the_gradients_are_those_of_autograd() -> None:
    trainer = make_trainer()
    grads, values = trainer.gradients(BATCH, [*trainer.alphas, *trainer.weights])
    trainer.mutator.reset()
    loss = nn.functional.cross_entropy(trainer.model(BATCH[0]), BATCH[1])
    expected = torch.autograd.grad(loss, [*trainer.alphas, *trainer.weights])

    assert torch.allclose(torch.as_tensor(values["loss"]), loss)
    for found, wanted in zip(grads, expected, strict=True):
        assert found is not None and torch.allclose(found, wanted)


def test_the_penalty_of_a_mutator_joins_the_architecture_loss_only() -> None:
    class Penalised(DartsMutator):
        def penalty(self, decisions: Any) -> Tensor:
            return 3.0 * self.alphas.sum()

    plain = make_trainer()
    net = make_net()
    punished = make_trainer(net, mutator=Penalised(net))
    difference = punished.arch_gradient(BATCH, OTHER)[0] - plain.arch_gradient(BATCH, OTHER)[0]

    assert torch.allclose(difference, torch.full_like(difference, 3.0), atol=1e-5)
    same = zip(plain.gradients(BATCH, plain.weights)[0],
               punished.gradients(BATCH, punished.weights)[0], strict=True)  # fmt: skip
    assert all(torch.equal(a, b) for a, b in same)


def test_weights_train_alone_before_the_start_epoch() -> None:
    trainer = make_trainer(num_epochs=2, warmup_epochs=1)
    before = trainer.alphas[0].detach().clone()
    seen = []
    step = trainer.arch_step
    trainer.arch_step = lambda a, b: (seen.append(trainer.epoch), step(a, b))  # type: ignore
    trainer.train()

    assert set(seen) == {1}
    assert not torch.equal(before, trainer.alphas[0])


def test_halves_of_the_training_set_are_disjoint_and_held_out_data_is_not_touched() -> None:
    trainer = make_trainer()
    halves = [
        {row for x, _ in loader.batches(0) for row in map(tuple, x.tolist())}
        for loader in (trainer.train_loader, trainer.arch_loader)
    ]

    assert not halves[0] & halves[1]
    assert len(halves[0]) == len(halves[1]) == 32


def test_a_pair_of_sets_is_used_as_it_is() -> None:
    x = torch.randn(32, 4)
    first, second = (ArrayDataset(x + i, torch.arange(32) % 2) for i in (0, 100))
    net = make_net()
    trainer = BilevelTrainer(
        net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), lr=0.1), 1,
        (first, second), first, mutator="darts", batch_size=8, device="cpu",
    )  # fmt: skip

    assert all(float(x.mean()) > 50 for x, _ in trainer.arch_loader.batches(0))
    assert all(float(x.mean()) < 50 for x, _ in trainer.train_loader.batches(0))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("unrolled", [False, True])
def test_low_precision_gives_nearly_the_same_gradients(precision: str, unrolled: bool) -> None:
    full = make_trainer(unrolled=unrolled)
    low = make_trainer(unrolled=unrolled, precision=precision)
    for trainer in (full, low):
        with torch.no_grad():
            trainer.alphas[0].copy_(torch.tensor([[0.3, -0.2], [0.1, 0.4]]))

    for wanted, found in zip(
        [*full.arch_gradient(BATCH, OTHER), *full.gradients(BATCH, full.weights)[0]],
        [*low.arch_gradient(BATCH, OTHER), *low.gradients(BATCH, low.weights)[0]],
        strict=True,
    ):
        assert found.dtype == torch.float32
        assert torch.allclose(found, wanted, rtol=0.1, atol=0.02)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_trains_on_fresh_weights(precision: str) -> None:
    trainer = make_trainer(num_epochs=15, precision=precision)
    before = trainer.validate()["loss"]
    trainer.train()

    assert trainer.validate()["loss"] < 0.6 * before


def test_a_step_that_overflows_is_left_out_and_the_scale_falls() -> None:
    trainer = make_trainer(precision="fp16")
    scaler = trainer.precision._scaler
    scaler.scale(torch.tensor(1.0))
    scaler.load_state_dict({**scaler.state_dict(), "scale": 2.0**40})
    weights = [w.detach().clone() for w in trainer.weights]

    trainer.weight_step(BATCH)

    assert all(torch.equal(a, b) for a, b in zip(weights, trainer.weights, strict=True))
    assert scaler.get_scale() < 2.0**40


@pytest.mark.parametrize("hessian", ["finite_difference", "exact"])
def test_an_overflow_in_second_order_spoils_no_batch_statistics(hessian: str) -> None:
    net = nn.Sequential(make_net()[0], nn.BatchNorm1d(4), nn.Linear(4, 2))
    trainer = make_trainer(net, precision="fp16", unrolled=True, hessian=hessian)
    scaler = trainer.precision._scaler
    scaler.scale(torch.tensor(1.0))
    scaler.load_state_dict({**scaler.state_dict(), "scale": 2.0**40})
    alphas = trainer.alphas[0].detach().clone()

    trainer.arch_step(BATCH, OTHER)

    assert torch.equal(trainer.alphas[0], alphas)
    assert all(b.isfinite().all() for b in trainer.model.buffers())
    assert scaler.get_scale() < 2.0**40


def test_clipping_bounds_the_weight_gradient() -> None:
    free, clipped = make_trainer(), make_trainer(grad_clip=0.01)
    moved = []
    for trainer in (free, clipped):
        before = [w.detach().clone() for w in trainer.weights]
        trainer.weight_step(BATCH)
        steps = [a - b for a, b in zip(before, trainer.weights, strict=True)]
        moved.append(torch.cat([s.flatten() for s in steps]).norm())

    assert torch.isclose(moved[1], torch.tensor(0.1 * 0.01), rtol=1e-3)
    assert moved[0] > moved[1]


def test_a_loss_that_is_not_finite_stops_the_search() -> None:
    trainer = make_trainer()
    trainer.objective.loss = lambda output, target: output.sum() * float("nan")
    with pytest.raises(TrainingError, match="loss is nan at step 1 .*Lower the learning rate"):
        trainer.train()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hessian": "none"}, "hessian must be one of finite_difference, exact"),
        ({"split": 1.0}, "split must be between 0 and 1"),
        ({"batch_size": 0}, "batch_size must be a positive"),
        ({"batch_size": 2.5}, "batch_size must be a positive whole number"),
        ({"num_epochs": 0}, "num_epochs must be a positive"),
        ({"accumulate": 9}, "accumulate=9 parts"),
        ({"grad_clip": 0.0}, "grad_clip must be positive"),
        ({"precision": "fp8"}, "precision must be one of fp32, bf16, fp16"),
        ({"device": "tpu9"}, "Unknown device"),
        ({"execution": "fast"}, "execution must be one of auto, eager"),
        ({"mutator": "dart"}, "Unknown mutator 'dart'. Did you mean 'darts'"),
        ({"mutator": 3}, "name, a class, a factory"),
        ({"mutator": "random"}, "gives mixes .*; RandomMutator gives single paths. .*: darts"),
        ({"resume": True}, "need a checkpoint_dir"),
        ({"batch_size": 33}, r"a batch holds 33 samples, the parts hold 32 \(weights\), 32"),
        ({"hessian": "exact"}, "set unrolled=True"),
        ({"warmup_epochs": 1}, r"warmup_epochs must be in \[0, 1\)"),
        ({"warmup_epochs": -1}, "warmup_epochs must be in"),
        ({"arc_learning_rate": 0.1, "arch_learning_rate": 0.1}, "two names of one argument"),
        (
            {"arch_learning_rat": 0.1},
            r"DartsTrainer .* 'arch_learning_rat'. Did you .*_rate'\? It takes",
        ),
        ({"optimizer": 3}, "function from parameters to one"),
        ({"optimizer": torch.optim.SGD(make_net().parameters())}, "no parameter of the model"),
        ({"mutator": DartsMutator(make_net())}, "decides another model"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make_trainer(**options)


def test_a_model_that_is_none_is_named() -> None:
    with pytest.raises(OptionError, match="function without arguments that returns one; got 3"):
        make_trainer(lambda: 3, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))  # type: ignore


def test_a_mutator_is_given_by_name_class_factory_or_instance() -> None:
    for given in ("darts", DartsMutator, lambda model: DartsMutator(model, seed=3)):
        assert isinstance(make_trainer(mutator=given).mutator, DartsMutator)
    net = make_net()
    mutator = DartsMutator(net)
    assert make_trainer(net, mutator=mutator).mutator is mutator


def test_random_mutators_decide_one_candidate_a_block() -> None:
    net = make_net()
    ran = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    mutator = RandomMutator(net)
    mutator.reset()
    net(BATCH[0])

    assert len(ran) == 2


@pytest.mark.parametrize(
    "options", [{}, {"unrolled": True}, {"unrolled": True, "hessian": "exact"}]
)
def test_frozen_weights_stay_and_the_rest_learns(options: dict[str, Any]) -> None:
    net = make_net()
    net[0][0].requires_grad_(False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    trainer = make_trainer(net, optimizer=optimizer, **options)
    frozen, free = net[0][0].weight.detach().clone(), net[1][0].weight.detach().clone()

    trainer.train()

    assert torch.equal(net[0][0].weight, frozen)
    assert not torch.equal(net[1][0].weight, free)
    assert not net[0][0].weight.requires_grad


def test_parts_of_a_batch_of_several_inputs_give_its_gradient() -> None:
    inputs = {"left": BATCH[0], "right": OTHER[0]}
    targets = (BATCH[1], OTHER[1])

    def loss(output: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        return sum(nn.functional.cross_entropy(output, t) for t in target)  # type: ignore[return-value]

    found = []
    for parts in (1, 2):
        trainer = make_trainer(accumulate=parts)
        trainer.objective.loss, trainer.objective.metrics = (
            loss,
            MetricSet(lambda output, target: {}),
        )
        trainer.model.register_forward_pre_hook(lambda _, args: args[0]["left"] + args[0]["right"])
        found.append(trainer.gradients((inputs, targets), trainer.weights)[0])

    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


def test_validation_weighs_batches_by_their_samples() -> None:
    trainer = make_trainer()
    trainer.objective.loss = lambda output, target: target[0].float().mean()
    trainer.objective.metrics = MetricSet(lambda output, target: {})
    batches = [(torch.ones(n, 4), [torch.full((n,), n), torch.ones(n)]) for n in (6, 2)]
    trainer.valid_loader = make_loader(batches, batch_size=1, seed=0)

    assert trainer.validate()["loss"] == (6 * 6 + 2 * 2) / 8


def test_an_optimizer_of_other_logits_is_refused() -> None:
    other = DartsMutator(make_net())
    with pytest.raises(OptionError, match="does not hold the mutator's logits"):
        make_trainer(arch_optimizer=torch.optim.Adam(other.parameters()))


def test_options_of_the_default_optimizer_need_the_default_optimizer() -> None:
    net = make_net()
    mutator = DartsMutator(net)
    own = torch.optim.Adam(mutator.parameters())
    with pytest.raises(OptionError, match="so lr, betas of the default one would not be used"):
        make_trainer(
            net, mutator=mutator, arch_optimizer=own, arch_learning_rate=0.1, arch_betas=(0.5, 0.9)
        )


def test_second_order_refuses_other_optimizers_at_once() -> None:
    net = make_net()
    with pytest.raises(OptionError, match="follows SGD"):
        make_trainer(net, optimizer=torch.optim.Adam(net.parameters()), unrolled=True)


def test_layers_of_any_dimension_are_searched() -> None:
    net = nn.Sequential(
        LayerChoice([nn.Conv3d(1, 2, 1), nn.Conv3d(1, 2, 3, padding=1)]),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Unflatten(1, (2, 1, 1)),
        nn.Conv2d(2, 2, 1), nn.Flatten(),
    )  # fmt: skip
    trainer = make_trainer(net)
    batch = torch.randn(8, 1, 3, 3, 3), torch.arange(8) % 2

    trainer.train_step((batch, batch))

    assert trainer.model[4].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (lambda output, target: None, "must return a dict from names to numbers, got None"),
        (lambda output, target: {"loss": 0.0}, "returned the name 'loss'"),
        (lambda output, target: {"each": output}, r"metric 'each' has the shape \(8, 2\)"),
    ],
)
def test_metrics_are_named_single_numbers(metrics: Any, message: str) -> None:
    net = make_net()
    data = ArrayDataset(*BATCH)
    trainer = DartsTrainer(
        net, nn.functional.cross_entropy, metrics, torch.optim.SGD(net.parameters(), lr=0.1), 1,
        (data, data), data, batch_size=8, device="cpu",
    )  # fmt: skip
    with pytest.raises(OptionError, match=message):
        trainer.train()


def test_the_halves_have_orders_of_their_own() -> None:
    net = make_net()
    numbers = ArrayDataset(torch.arange(64.0).reshape(64, 1).expand(64, 4), torch.arange(64) % 2)
    trainer = DartsTrainer(
        net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), lr=0.1), 4,
        (numbers, numbers), numbers, batch_size=8, device="cpu",
    )  # fmt: skip
    partners: dict[float, set[float]] = {}
    for epoch in range(4):
        for (ours, _), (others, _) in trainer.batches(epoch, 0):
            for one, other in zip(ours[:, 0].tolist(), others[:, 0].tolist(), strict=True):
                partners.setdefault(one, set()).add(other)
    # By chance two of four draws of 64 agree for about six samples.
    assert sum(len(met) == 4 for met in partners.values()) > 48
