"""What trainers need and mutators give: what does not fit is refused when it is put together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import InputChoice, LayerChoice, keyed_blocks
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.mutators import DartsMutator, GdasMutator, Mutator, ProxylessMutator, mutators
from nas_plugin.mutators.mutator import GIFTS, MIXES, PATHS, POLICY, REPEATABLE
from nas_plugin.reporting.callbacks import DrawingCallback
from nas_plugin.trainers import (
    ArchitectureCheckpoint,
    BilevelTrainer,
    DartsTrainer,
    EnasTrainer,
    ProxylessNasTrainer,
    RandomNasTrainer,
    SinglePathTrainer,
    SPOSSupernetTrainer,
    accuracy,
    fitting,
    reward_accuracy,
)

TRAINERS = (DartsTrainer, ProxylessNasTrainer, RandomNasTrainer, SPOSSupernetTrainer, EnasTrainer)


def make_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        LayerChoice([nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh())], key="layer"),
        nn.BatchNorm1d(4),
        nn.Linear(4, 2),
    )


def make(cls: Any, net: nn.Module | None = None, **options: Any) -> Any:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    data = ArrayDataset(x, (x[:, 0] > 0).long())
    reward = {"reward_function": reward_accuracy} if cls is EnasTrainer else {}
    common: dict[str, Any] = {
        "loss": nn.functional.cross_entropy, "metrics": accuracy, "num_epochs": 1,
        "dataset_train": data, "dataset_valid": data, "batch_size": 4, "device": "cpu",
        "optimizer": lambda params: torch.optim.SGD(params, lr=0.1), "progress": False,
    }  # fmt: skip
    return cls(make_net() if net is None else net, **reward, **{**common, **options})


#: By hand: which mutators draw one path, and which mix all or some with a gradient.
GIVEN = {
    "darts": {MIXES, REPEATABLE}, "fair_darts": {MIXES, REPEATABLE}, "xnas": {MIXES, REPEATABLE},
    "proxyless": {MIXES, PATHS}, "enas": {PATHS, POLICY},
    "random": {PATHS}, "spos": {PATHS}, "fairnas": {PATHS},
    **{n: {MIXES} for n in ("gdas", "snas", "didarts", "fbnet", "data", "drnas", "reinmax")},
}  # fmt: skip


def test_what_the_mutators_give() -> None:
    assert {name: set(mutators.get(name).gives) for name in GIVEN} == GIVEN


@pytest.mark.parametrize("cls", TRAINERS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("name", GIVEN)
def test_a_mutator_is_taken_if_and_only_if_it_gives_what_is_needed(cls: Any, name: str) -> None:
    net = make_net()
    if cls.needs <= GIVEN[name]:
        assert name in fitting(cls.needs)
        make(cls, net, mutator=name)
        return
    with pytest.raises(OptionError) as refused:
        make(cls, net, mutator=name)
    text = str(refused.value)
    listed = text.partition("Those that fit: ")[2].rstrip(".").split(", ")
    assert text.startswith(f"{cls.__name__} needs a mutator that gives ")
    assert listed == fitting(cls.needs) and name not in listed
    assert set(listed) & set(GIVEN) == {n for n, given in GIVEN.items() if cls.needs <= given}
    assert all(place.block.binding is None for place in keyed_blocks(net)), "left bound"


@pytest.mark.parametrize("name", ["proxyless", "gdas", "drnas"])
def test_second_order_needs_the_same_mix_in_all_its_passes(name: str) -> None:
    with pytest.raises(OptionError, match=r"DartsTrainer \(unrolled\) needs .*same mixes"):
        make(DartsTrainer, mutator=name, unrolled=True)
    make(DartsTrainer, mutator=name)


def test_a_mutator_that_says_nothing_is_told_to() -> None:
    class Silent(Mutator):
        pass

    with pytest.raises(OptionError, match="Silent gives nothing: a mutator says so by `gives`"):
        make(SinglePathTrainer, mutator=Silent)


class Detached(DartsMutator):
    def relax(self, logits: Tensor) -> Tensor:
        return super().relax(logits).detach()


class Hard(GdasMutator):
    """Without straight-through."""

    def relax(self, logits: Tensor) -> Tensor:
        soft = self.masked_softmax(logits)
        return torch.zeros_like(soft).scatter(1, soft.argmax(1, keepdim=True), 1.0)


class Constant(DartsMutator):
    """Its mix has a graph, but no gradient."""

    def relax(self, logits: Tensor) -> Tensor:
        return self.masked_softmax(logits * 0.0)


@pytest.mark.parametrize(
    ("mutator", "message"),
    [
        (Detached, "decides 'layer' by a mix without a gradient.*straight-through"),
        (Hard, "decides 'layer' by a mix without a gradient.*straight-through"),
        (Constant, "no gradient with respect to its logits"),
        (lambda model: frozen(DartsMutator(model)), "has no logits that BilevelTrainer could"),
    ],
)
def test_logits_that_would_never_train_are_refused(mutator: Any, message: str) -> None:
    net = make_net()
    with pytest.raises(OptionError, match=message):
        make(BilevelTrainer, net, mutator=mutator)
    make(BilevelTrainer, net, mutator="darts")


def frozen(mutator: Mutator) -> Mutator:
    return mutator.requires_grad_(False)


@pytest.mark.parametrize("cls", [ProxylessMutator, GdasMutator])
def test_the_check_leaves_the_mutator_as_it_was(cls: Any) -> None:
    net = make_net()
    mutator, twin = cls(net, seed=3), cls(make_net(), seed=3)
    mutator.reset()
    twin.reset()
    before = mutator.binding.decisions
    make(DartsTrainer, net, mutator=mutator)

    assert mutator.binding.decisions is before
    for one in (mutator, twin):
        one.after_arch_step()
        one.reset()
    found, wanted = (m.binding.decisions["layer"] for m in (mutator, twin))
    assert found.active == wanted.active and torch.equal(found.mix, wanted.mix)


def test_choices_with_nothing_to_choose_need_no_gradient() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.only = LayerChoice([nn.Linear(4, 4)])
            self.both = InputChoice(n_candidates=2, n_chosen=2)
            self.layer = LayerChoice([nn.Linear(4, 2), nn.Linear(4, 2)])

        def forward(self, x: Tensor) -> Any:
            return self.layer(self.both([x, self.only(x)]))

    make(DartsTrainer, Net()).train()
    make(DartsTrainer, Net(), mutator="gdas").train()


@pytest.mark.parametrize("callback", [ArchitectureCheckpoint, DrawingCallback])
def test_a_supernet_of_equal_paths_gives_no_architecture(tmp_path: Any, callback: Any) -> None:
    trainer = make(SPOSSupernetTrainer, callbacks=[callback(tmp_path / "files")])
    with pytest.raises(OptionError, match=f"SPOSSupernetTrainer finds no .* {callback.__name__}"):
        trainer.train()
    with pytest.raises(OptionError, match="second stage"):
        make(SPOSSupernetTrainer).export(tmp_path / "architecture.json")
    assert not list(tmp_path.rglob("*.json")) and trainer.step == 0


class Moved(nn.Module):
    """Gives x plus a large constant, so that the paths' statistics are far apart."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


@pytest.mark.parametrize("cls", [SPOSSupernetTrainer, ProxylessNasTrainer])
def test_a_path_is_validated_with_its_own_statistics(cls: Any) -> None:
    """Each path alone is right always; with the statistics of both together it is at chance."""
    norm, head = nn.BatchNorm1d(4, momentum=None), nn.Linear(4, 2, bias=False)
    head.weight.data = torch.tensor([[-1.0] * 4, [1.0] * 4])
    net = nn.Sequential(LayerChoice([Moved(-50.0), Moved(50.0)]), norm, head)
    x = torch.tensor([-1.0, 1.0] * 8 + [1.0])[:, None].repeat(1, 4)
    data = ArrayDataset(x, (x[:, 0] > 0).long())
    trainer = make(cls, net, dataset_valid=data)
    norm.running_mean.zero_(), norm.running_var.fill_(2500.0)  # type: ignore[union-attr]
    before = trainer.mutator.generator.get_state()
    statistics = {name: b.clone() for name, b in net.named_buffers()}

    assert trainer.validate()["accuracy"] == 1.0
    assert torch.equal(trainer.mutator.generator.get_state(), before)
    assert all(torch.equal(b, statistics[name]) for name, b in net.named_buffers())


def test_a_mixture_is_validated_with_the_running_statistics() -> None:
    trainer = make(DartsTrainer)
    trainer.train()
    net = trainer.model
    p = trainer.alphas[0].detach()[0].softmax(0)
    x, y = trainer.valid_loader.batches(0).__next__()
    trainer.valid_loader = Once((x, y))
    mixed = p[0] * net[0][0](x) + p[1] * net[0][1](x)
    norm = net[1]
    mixed = (mixed - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    out = net[2](mixed * norm.weight + norm.bias)

    found = trainer.validate()["loss"]

    assert found == pytest.approx(float(nn.functional.cross_entropy(out, y).detach()), abs=1e-6)


class Once:
    """A loader of one batch."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def batches(self, epoch: int, start: int = 0) -> Any:
        yield self.batch


def test_paths_are_drawn_for_every_batch_and_every_sample_counts_once() -> None:
    """A last batch of one sample, which batch norm cannot normalise, joins the one before."""
    trainer = make(SPOSSupernetTrainer)
    seen: list[int] = []
    loss = trainer.objective.loss
    trainer.objective.loss = lambda output, y: (seen.append(len(y)), loss(output, y))[1]  # type: ignore
    data = ArrayDataset(torch.randn(9, 4), torch.arange(9) % 2)
    drawn = []
    reset = trainer.mutator.reset
    trainer.mutator.reset = lambda: (drawn.append(1), reset())[1]  # type: ignore[func-returns-value]
    trainer.valid_loader = make(SPOSSupernetTrainer, dataset_valid=data).valid_loader
    trainer.validate()

    assert seen == [4, 5] and len(drawn) == 2


def test_gifts_are_described() -> None:
    assert set().union(*GIVEN.values()) == set(GIFTS)
