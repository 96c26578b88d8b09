"""P-DARTS: what survives, what is gone, dropout and the limit of skips are worked out by hand."""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from nas_plugin.choice import Cell, LayerChoice
from nas_plugin.contracts.planted import planted_problem
from nas_plugin.contracts.smooth import Zeros
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.mutators import DartsMutator
from nas_plugin.operations.skip_dropout import DroppedSkip
from nas_plugin.runtime import seed_everything
from nas_plugin.trainers import Callback, LRSchedulerCallback, PdartsTrainer, accuracy
from nas_plugin.trainers.pdarts import with_few_skips
from nas_plugin.trainers.stops import EigenvalueStop, OperationStop, RankingStop, SkipStop
from tests.trainers.test_resume import KilledError, Log, assert_same, everything

NAMES = ("none", "skipconnect", "a", "b", "c", "d")


class Net(nn.Module):
    """A normal cell on vectors, as often as there are layers."""

    def __init__(self, layers: int, n_nodes: int = 2, n_candidates: int = 6) -> None:
        super().__init__()

        def edge(node: int, source: int) -> dict[str, nn.Module]:
            made = [Zeros(), nn.Identity(), *(nn.Linear(3, 3) for _ in range(4))]
            return dict(zip(NAMES[:n_candidates], made[:n_candidates], strict=True))

        self.cells = nn.ModuleList(
            Cell("normal", edge, n_nodes=n_nodes, output="last") for _ in range(layers)
        )
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        before = last = x
        for cell in self.cells:
            before, last = last, cell(before, last)
        out: Tensor = self.head(self.norm(last))
        return out


def creator(layers: int) -> Any:
    model = Net(layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, nn.functional.cross_entropy, optimizer, CosineAnnealingLR(optimizer, 2)


def make(*callbacks: Callback, **options: Any) -> PdartsTrainer:
    seed_everything(3)
    x = torch.randn(32, 3)
    data = ArrayDataset(x, (x.sum(1) > 0).long())
    settings: dict[str, Any] = {
        "pdarts_num_layers": (0, 1, 2), "pdarts_num_to_drop": (2, 2, 1), "batch_size": 8,
        "device": "cpu", "progress": False, "warmup_epochs": 0, "arch_learning_rate": 0.1,
    }  # fmt: skip
    return PdartsTrainer(
        creator, 1, accuracy, 2, data, data, callbacks=callbacks, **{**settings, **options}
    )


class Watch(Callback):
    """Sets logits at the end of every epoch, and notes what each stage is made of."""

    def __init__(self, play: Any = None) -> None:
        self.play, self.notes = play, []

    def on_epoch_begin(self, epoch: int) -> None:
        trainer = self.trainer
        blocks = [m for m in trainer.model.modules() if isinstance(m, LayerChoice)]
        self.notes.append(
            {
                "layers": len(trainer.model.cells),
                "candidates": {b.key: b.candidates for b in blocks},
                "weights": sum(p.numel() for p in trainer.model.parameters()),
                "stepped": sum(p.numel() for p in trainer.weights),
                "rate": trainer.optimizer.param_groups[0]["lr"],
                "skip": [m.p for m in trainer.model.modules() if isinstance(m, DroppedSkip)],
            }
        )

    def on_epoch_end(self, epoch: int) -> None:
        if self.play is not None:
            mutator = self.trainer.mutator
            with torch.no_grad():
                for row, key in enumerate(mutator.rows):
                    for column, name in enumerate(mutator.space[key].candidates):
                        mutator.alphas[row, column] = self.play(key, name)


def preference(key: str, name: str) -> float:
    """One edge has ``none`` on top, the others go by the alphabet."""
    if key == "normal_n2_p0":
        return {"none": 9.0, "a": 3.0, "d": 2.0}.get(name, 0.0)
    return {"none": -1.0, "skipconnect": 4.0}.get(name, float(ord("d") - ord(name[0])))


def test_the_candidates_that_survive_are_those_worked_out_by_hand() -> None:
    watch = Watch(preference)
    trainer = make(watch, max_skips=None)
    trainer.train()

    odd, other = "normal_n2_p0", "normal_n3_p1"
    of_stage = [note["candidates"] for note in watch.notes[::2]]
    assert of_stage[0][odd] == of_stage[0][other] == NAMES
    # Two of the three that tie at 0 go, the first two of them.
    assert of_stage[1][odd] == ("none", "a", "c", "d")
    assert of_stage[1][other] == ("skipconnect", "a", "b", "c")
    assert of_stage[2][odd] == ("none", "a")
    assert of_stage[2][other] == ("skipconnect", "a")
    found = trainer.export()
    assert found.get(odd, "a") == "a", "none is never kept"
    assert [note["layers"] for note in watch.notes] == [1, 1, 2, 2, 3, 3]


def test_what_is_removed_is_gone_from_memory_and_from_the_optimizer() -> None:
    watch = Watch(preference)
    make(watch).train()
    # A cell has five edges; a candidate with weights has 12 of them. Norm and head have 6 + 8.
    # Edge n2_p0 keeps one or three with weights, the others three, then one.
    wanted = [5 * 4 * 12, 2 * (3 + 4 * 3) * 12, 3 * (1 + 4 * 1) * 12]
    assert [note["weights"] - 14 for note in watch.notes[::2]] == wanted
    assert all(note["weights"] == note["stepped"] for note in watch.notes)


def test_each_stage_begins_at_the_full_rate() -> None:
    watch = Watch()
    make(watch).train()
    assert [note["rate"] for note in watch.notes] == pytest.approx([0.1, 0.05] * 3)


def test_dropout_follows_its_schedule() -> None:
    """The numbers are those of the paper's code: 25 epochs of which 10 train weights only."""
    trainer = make(warmup_epochs=1)
    trainer.stage_epochs, trainer.warmup, trainer.rates = 25, 10, [0.5]
    assert trainer.dropout(0) == pytest.approx(0.5 * 24 / 25)
    assert trainer.dropout(9) == pytest.approx(0.5 * 15 / 25)
    assert trainer.dropout(10) == pytest.approx(0.5)
    assert trainer.dropout(24) == pytest.approx(0.5 * math.exp(-2.8))

    watch = Watch(preference)
    make(watch, warmup_epochs=1, skip_dropout=(0.1, 0.4, 0.7)).train()
    rates = [set(note["skip"]) for note in watch.notes]
    assert rates == [{0.05}, {0.1}, {0.2}, {0.4}, {0.35}, {0.7}]


def test_a_dropped_skip_drops_single_numbers_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    skip = DroppedSkip(0.25)
    out = skip(torch.ones(100, 100))
    assert sorted(out.unique().tolist()) == pytest.approx([0.0, 4 / 3])
    assert float((out == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert torch.equal(skip.eval()(out), out)


def test_logits_wait_in_every_stage() -> None:
    moved = []

    class Logits(Callback):
        def on_epoch_begin(self, epoch: int) -> None:
            self.before = self.trainer.mutator.alphas.detach().clone()

        def on_epoch_end(self, epoch: int) -> None:
            moved.append(not torch.equal(self.before, self.trainer.mutator.alphas))

    make(Logits(), warmup_epochs=1).train()
    assert moved == [False, True] * 3


def test_the_gradient_of_the_logits_is_clipped() -> None:
    trainer = make(arch_grad_clip=1e-3)
    seen = []
    trainer.arch_optimizer.register_step_pre_hook(
        lambda *_: seen.append(float(trainer.alphas[0].grad.norm()))
    )
    trainer.arch_step(*next(trainer.batches(0, 0)))
    assert seen == pytest.approx([1e-3], rel=1e-2)


def derived(scores: dict[str, list[float]]) -> dict[str, str]:
    """Returns edge → candidate of the cell: two edges a node, by the best that may be kept."""
    found = {}
    for node in (2, 3, 4):
        edges = [(f"normal_n{node}_p{i}", scores[f"normal_n{node}_p{i}"]) for i in range(node)]
        ranked = sorted(edges, key=lambda e: -max(e[1][1:]))[:2]
        for key, row in ranked:
            found[key] = NAMES[1 + row[1:].index(max(row[1:]))]
    return found


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("limit", [0, 1, 2])
def test_the_limit_of_skips_is_that_of_the_rule(seed: int, limit: int) -> None:
    cell = Cell("normal", lambda n, s: {name: nn.Identity() if name != "none" else Zeros()
                                        for name in NAMES}, n_nodes=3)  # fmt: skip
    mutator = DartsMutator(nn.Sequential(cell))
    rng = Random(seed)
    scores = {k: [rng.random() + (0.5 if n == "skipconnect" else 0) for n in NAMES]
              for k in mutator.rows}  # fmt: skip
    status = {k: dict(zip(NAMES, row, strict=True)) for k, row in scores.items()}
    start = {**derived(scores)}
    for node in (2, 3, 4):
        start[f"normal_n{node}_switch"] = [k for k in derived(scores) if f"n{node}_" in k]
    found = with_few_skips(mutator.space, status, mutator.space.architecture(start), limit)

    while True:
        cell_now = derived(scores)
        skips = sorted((scores[k][1], k) for k, v in cell_now.items() if v == "skipconnect")
        if len(skips) <= limit:
            break
        scores[skips[0][1]][1] = 0.0
    assert {k: v for k, v in found.items() if "_p" in k} == cell_now
    assert sum(v == "skipconnect" for v in found.values()) <= limit


STOPS = (EigenvalueStop, SkipStop, RankingStop, OperationStop)


def stored(folder: Path, *, resume: bool = False, kill_at: int | None = None) -> PdartsTrainer:
    callbacks = [kind(**({"limit": 99} if kind is SkipStop else {})) for kind in STOPS]
    return make(
        *callbacks, Log(kill_at), checkpoint_dir=folder, checkpoint_every=1, resume=resume,
        skip_dropout=0.3, log_frequency=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> PdartsTrainer:
    trainer = stored(tmp_path_factory.mktemp("whole"))
    trainer.train()
    assert trainer.step == 12 and trainer.stage == 2
    return trainer


@pytest.mark.parametrize("kill_at", [1, 4, 5, 7, 8, 9, 12])
def test_it_resumes_bit_identically_in_every_stage(
    tmp_path: Path, whole: PdartsTrainer, kill_at: int
) -> None:
    with pytest.raises(KilledError):
        stored(tmp_path, kill_at=kill_at).train()
    torch.manual_seed(999)
    trainer = stored(tmp_path, resume=True)
    trainer.train()
    assert_same(everything(trainer), everything(whole))
    assert trainer.export() == whole.export()


def test_the_executor_is_attached_again() -> None:
    eager = make(execution="eager")
    eager.train()
    fast = make(execution="auto")
    fast.train()
    assert eager.mutator.binding.dispatch is None
    assert fast.mutator.binding.dispatch is not None
    assert torch.allclose(eager.alphas[0], fast.alphas[0], atol=1e-5)


@pytest.mark.parametrize("seed", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_the_planted_architecture_is_found(seed: int) -> None:
    problem = planted_problem(seed)

    def planted(layers: int) -> Any:
        model = copy.deepcopy(problem.model)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=3e-4)
        return model, nn.functional.cross_entropy, optimizer, CosineAnnealingLR(optimizer, 6)

    trainer = PdartsTrainer(
        planted, 1, accuracy, 6, problem.train, problem.valid, (0, 0), (2, 1), batch_size=64,
        seed=seed, device="cpu", progress=False, arch_learning_rate=0.03, warmup_epochs=1,
        skip_dropout=0.0,
    )  # fmt: skip
    trainer.train()
    assert problem.is_solved_by(trainer.export())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pdarts_num_to_drop": (3, 3)}, "an entry for each stage; got 3, 2"),
        ({"pdarts_num_to_drop": (3, 3, 1)}, "leaves none of 6"),
        ({"skip_dropout": 1.0}, r"in \[0, 1\)"),
        ({"warmup_epochs": 2}, "must be below num_epochs"),
        ({"mutator": DartsMutator(Net(1))}, "by name, class or factory"),
        (
            {"callbacks": [LRSchedulerCallback(lambda o: CosineAnnealingLR(o, 2))]},
            "belongs to a stage",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    callbacks = options.pop("callbacks", [])
    with pytest.raises(OptionError, match=message):
        make(*callbacks, **options)


def test_every_key_keeps_as_many_as_asked() -> None:
    trainer = make()
    for n in range(1, 7):
        assert {len(v) for v in trainer.strongest(n).values()} == {n}
    for key in trainer.strongest(1):
        nested = [set(trainer.strongest(n)[key]) for n in range(1, 7)]
        assert all(a < b for a, b in itertools.pairwise(nested))


def test_inputs_of_a_node_are_no_candidates_to_drop() -> None:
    def few(layers: int) -> Any:
        model = Net(layers, n_nodes=4, n_candidates=3)  # the last node chooses among five inputs
        return model, nn.functional.cross_entropy, torch.optim.SGD(model.parameters(), 0.1), None

    data = ArrayDataset(torch.randn(32, 3), torch.randint(0, 2, (32,)))
    with pytest.raises(OptionError, match="leaves none of 3"):
        PdartsTrainer(
            few, 1, accuracy, 2, data, data, pdarts_num_layers=(0, 0, 0),
            pdarts_num_to_drop=(2, 2, 0), batch_size=8, device="cpu", progress=False,
        )  # fmt: skip
