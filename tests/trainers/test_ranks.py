"""Two gloo processes against one process on the joint batch, in float64."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.trainers import (
    BilevelTrainer,
    EnasTrainer,
    ProxylessNasTrainer,
    RandomNasTrainer,
    SearchTrainer,
    SPOSSupernetTrainer,
    accuracy,
    reward_accuracy,
)

pytestmark = pytest.mark.processes


def make_net(norm: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        LayerChoice([nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh())]),
        nn.BatchNorm1d(4) if norm else nn.Identity(),
        LayerChoice([nn.Linear(4, 2), nn.Sequential(nn.ReLU(), nn.Linear(4, 2))]),
    ).double()


def make_sampled(batch_size: int, method: str) -> SearchTrainer:
    net = make_net()
    x, y = torch.randn(64, 4, dtype=torch.float64), torch.randint(0, 2, (64,))
    data = ArrayDataset(x, y)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9, weight_decay=1e-3)
    start = (net, nn.functional.cross_entropy, accuracy)
    rest = (optimizer, 2, data, data)
    common: dict[str, Any] = {"batch_size": batch_size, "device": "cpu", "seed": 3}
    trainer: SearchTrainer
    if method == "enas":
        trainer = EnasTrainer(
            *start, reward_accuracy, *rest, split=0.5, mutator_steps=3, mutator_steps_aggregate=2,
            arch_learning_rate=0.05, samples=4, **common,
        )  # fmt: skip
    elif method == "proxyless":
        trainer = ProxylessNasTrainer(
            *start, *rest, split=0.5, arch_every=1, arch_learning_rate=0.1, **common
        )
    elif method == "random_nas":
        trainer = RandomNasTrainer(*start, *rest, split=0.5, samples=4, **common)
    else:
        trainer = SPOSSupernetTrainer(*start, *rest, mutator=method, **common)
    trainer.mutator.double()
    return trainer


def make_trainer(batch_size: int, unrolled: bool, hessian: str, norm: bool) -> BilevelTrainer:
    net = make_net(norm)
    x, y = torch.randn(64, 4, dtype=torch.float64), torch.randint(0, 2, (64,))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9, weight_decay=1e-3)
    trainer = BilevelTrainer(
        net, nn.functional.cross_entropy, accuracy, optimizer, 2, ArrayDataset(x, y),
        ArrayDataset(x, y), mutator="darts", batch_size=batch_size, device="cpu",
        arch_learning_rate=0.1, unrolled=unrolled, hessian=hessian,
    )  # fmt: skip
    trainer.mutator.double()
    return trainer


def result(trainer: SearchTrainer) -> dict[str, Any]:
    return {
        "weights": [p.detach().clone() for p in trainer.weights],
        "alphas": [p.detach().clone() for p in trainer.mutator.parameters()],
        "buffers": [b.clone() for b in trainer.model.buffers()],
        "architecture": dict(trainer.export()) if trainer.finds_architecture else {},
    }


def worker(rank: int, port: int, folder: str, jobs: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    for number, job in enumerate(jobs):
        if "method" in job:
            sampled = make_sampled(batch_size=8, **job)
            sampled.train()
            torch.save(result(sampled), Path(folder) / f"{number}-{rank}.pt")
            continue
        last_only = job.pop("average_last_only", False)
        trainer = make_trainer(batch_size=8, **job)
        if last_only:
            of = trainer.gradients
            average, of.averaged = of.averaged, lambda grads: list(grads)  # type: ignore

            def arch_gradient(a: Any, b: Any, t: Any = trainer, mean: Any = average) -> Any:
                return mean(BilevelTrainer.arch_gradient(t, a, b))

            def weight_step(batch: Any, t: Any = trainer, mean: Any = average) -> Any:
                local, t.gradients.averaged = t.gradients.averaged, mean
                values = BilevelTrainer.weight_step(t, batch)
                t.gradients.averaged = local
                return values

            trainer.arch_gradient, trainer.weight_step = arch_gradient, weight_step  # type: ignore
        trainer.train()
        torch.save(result(trainer), Path(folder) / f"{number}-{rank}.pt")
    dist.destroy_process_group()


JOBS: dict[str, dict[str, Any]] = {
    "first order": {"unrolled": False, "hessian": "finite_difference", "norm": False},
    "finite difference": {"unrolled": True, "hessian": "finite_difference", "norm": False},
    "exact": {"unrolled": True, "hessian": "exact", "norm": False},
    "batch statistics": {"unrolled": True, "hessian": "exact", "norm": True},
    "averaged last": {
        "unrolled": True, "hessian": "exact", "norm": False, "average_last_only": True,
    },
    **{
        method: {"method": method}
        for method in ("spos", "fairnas", "random_nas", "enas", "proxyless")
    },
}  # fmt: skip
SAMPLED = [name for name, job in JOBS.items() if "method" in job]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(worker, (port, str(folder), [dict(j) for j in JOBS.values()]), nprocs=2)
    return {
        name: [torch.load(folder / f"{i}-{rank}.pt") for rank in (0, 1)]
        for i, name in enumerate(JOBS)
    }


def distance(a: dict[str, Any], b: dict[str, Any]) -> float:
    pairs = zip([*a["weights"], *a["alphas"]], [*b["weights"], *b["alphas"]], strict=True)
    return max(float((x - y).abs().max()) for x, y in pairs)


def alone(job: dict[str, Any]) -> dict[str, Any]:
    trainer: SearchTrainer
    if "method" in job:
        trainer = make_sampled(batch_size=16, **job)
    else:
        trainer = make_trainer(batch_size=16, **{k: v for k, v in job.items() if "last" not in k})
    trainer.train()
    return result(trainer)


@pytest.mark.parametrize("name", ["first order", "finite difference", "exact", *SAMPLED])
def test_two_ranks_equal_one_process_on_the_joint_batch(
    two_ranks: dict[str, list[dict[str, Any]]], name: str
) -> None:
    expected = alone(JOBS[name])

    for found in two_ranks[name]:
        assert distance(found, expected) < 1e-10
        assert found["architecture"] == expected["architecture"]


def test_averaging_only_the_last_gradient_differs(
    two_ranks: dict[str, list[dict[str, Any]]],
) -> None:
    assert distance(two_ranks["averaged last"][0], alone(JOBS["exact"])) > 1e-6


@pytest.mark.parametrize("name", ["first order", "exact", "batch statistics", *SAMPLED])
def test_ranks_agree_bit_for_bit(two_ranks: dict[str, list[dict[str, Any]]], name: str) -> None:
    first, second = two_ranks[name]

    assert distance(first, second) == 0
    assert first["architecture"] == second["architecture"]
    for a, b in zip(first["buffers"], second["buffers"], strict=True):
        assert torch.equal(a, b)
