"""Two gloo processes equal one: stops, selections, searches in stages and in cycles."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from nas_plugin.data import ArrayDataset
from nas_plugin.mutators import DartsMutator, Mutator
from nas_plugin.testing import smooth_net
from nas_plugin.trainers import (
    BilevelTrainer,
    CdartsTrainer,
    PdartsTrainer,
    PerturbationSelection,
    ProgressiveTrainer,
    SampledSelection,
    accuracy,
    finalize,
)
from nas_plugin.trainers.stops import EigenvalueStop, OperationStop, SkipStop

pytestmark = [pytest.mark.processes, pytest.mark.slow]

X = torch.randn(32, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
DATA = ArrayDataset(X, torch.arange(32) % 3)
LOSS = nn.functional.cross_entropy


def mutator(model: nn.Module) -> Mutator:
    made: Mutator = DartsMutator(model, seed=3).double()
    return made


def sgd(params: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=0.05, momentum=0.9)


def common(batch_size: int) -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "batch_size": batch_size, "device": "cpu", "progress": False, "seed": 5, "mutator": mutator,
    }  # fmt: skip


def net(*_: Any, partial: int = 1) -> nn.Module:
    return smooth_net(channels=4, partial=partial).double()


def bilevel(batch_size: int, epochs: int = 3, **options: Any) -> Any:
    model = net()
    return BilevelTrainer(
        model, LOSS, accuracy, sgd(model.parameters()), epochs, DATA, DATA,
        arch_learning_rate=0.1, **common(batch_size), **options,
    )  # fmt: skip


def stopped(batch_size: int) -> Any:
    stops = [
        EigenvalueStop(window=1, lag=1, ratio=1e-9), SkipStop(limit=99),
        OperationStop(steps=3, threshold=0.9),
    ]  # fmt: skip
    return bilevel(batch_size, callbacks=stops)


def creator(layers: int) -> Any:
    torch.manual_seed(7)  # what a stage draws follows from what was drawn before
    model = net()
    return model, LOSS, sgd(model.parameters()), None


def pdarts(batch_size: int) -> Any:
    options = common(batch_size)
    return PdartsTrainer(
        creator, 1, accuracy, 2, DATA, DATA, (0, 0), (1, 1), skip_dropout=0.0, warmup_epochs=0,
        arch_learning_rate=0.1, **options,
    )  # fmt: skip


def progressive(batch_size: int) -> Any:
    options = common(batch_size)
    return ProgressiveTrainer(
        partial(smooth, classes=3), LOSS, accuracy, sgd, 2, DATA, DATA, partial=(2, 1), keep=(3,),
        warmup_epochs=0, arch_learning_rate=0.1, **options,
    )  # fmt: skip


def smooth(*, partial: int = 1, classes: int = 3) -> nn.Module:
    return net(partial=partial)


def cdarts(batch_size: int) -> Any:
    options = common(batch_size)
    return CdartsTrainer(
        net(), net(), LOSS, DATA, dataset_valid=DATA, num_epochs=2, warmup_epochs=1, w_lr=0.05,
        nasnet_lr=0.05, alpha_lr=0.1, **options,
    )  # fmt: skip


JOBS: dict[str, Any] = {
    "stops": (stopped, "strength"),
    "perturbation": (bilevel, PerturbationSelection(epochs=1)),
    "sampled": (bilevel, SampledSelection(samples=5)),
    "pdarts": (pdarts, "strength"),
    "progressive": (progressive, "strength"),
    "cdarts": (cdarts, "strength"),
}


def result(name: str, batch_size: int) -> dict[str, Any]:
    torch.manual_seed(0)
    make, selection = JOBS[name]
    trainer = make(batch_size)
    trainer.train()
    found = finalize(trainer, selection)
    params = [*trainer.weights, *trainer.mutator.parameters()]
    params += getattr(trainer, "weights_large", [])
    frozen = [c.frozen for c in trainer.callbacks if isinstance(c, OperationStop)]
    return {
        "values": [p.detach().clone() for p in params], "architecture": found.to_json(),
        "stopped": trainer.stopped, "frozen": frozen,
    }  # fmt: skip


def worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    found = {name: result(name, batch_size=4) for name in JOBS}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(worker, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", JOBS)
def test_two_processes_equal_one(two_ranks: list[dict[str, dict[str, Any]]], name: str) -> None:
    alone = result(name, batch_size=8)

    first, second = (ranks[name] for ranks in two_ranks)
    for a, b in zip(first["values"], second["values"], strict=True):
        assert torch.equal(a, b), "ranks drift apart"
    for a, b in zip(first["values"], alone["values"], strict=True):
        assert float((a - b).abs().max()) < 1e-9
    for key in ("architecture", "frozen"):
        assert first[key] == second[key] == alone[key]
    assert (first["stopped"] is None) == (alone["stopped"] is None)
