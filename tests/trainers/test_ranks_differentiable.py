"""Two gloo processes equal one on the joint batch, for every differentiable mutator and part."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from nas_plugin.mutators import DifferentiableMutator, mutators
from nas_plugin.trainers import ArchTrainer
from tests.trainers.test_combinations import make

pytestmark = [pytest.mark.processes, pytest.mark.slow]

PLAIN = {"perturbation": "none", "partial": "1", "regularizer": "none", "trainer": "bilevel",
         "execution": "auto"}  # fmt: skip
#: Every mutator alone, and every other part with one that takes it.
JOBS: list[dict[str, str]] = [
    *(
        {**PLAIN, "mutator": name, "partial": "2" if name == "pc_darts" else "1"}
        for name in mutators.names()
        if issubclass(mutators.get(name), DifferentiableMutator)
    ),
    {**PLAIN, "mutator": "darts", "perturbation": "random"},
    {**PLAIN, "mutator": "snas", "perturbation": "adversarial"},
    {**PLAIN, "mutator": "gdas", "perturbation": "dropout"},
    {**PLAIN, "mutator": "drnas", "partial": "2+betas", "regularizer": "target"},
    {**PLAIN, "mutator": "didarts", "trainer": "single_level"},
    {**PLAIN, "mutator": "fair_darts", "trainer": "unrolled", "regularizer": "weight"},
    {**PLAIN, "mutator": "darts", "trainer": "exact", "regularizer": "auxiliary"},
]


def result(trainer: ArchTrainer) -> dict[str, Any]:
    trainer.train()
    values = [p.detach().clone() for p in (*trainer.weights, *trainer.mutator.parameters())]
    return {"values": values, "architecture": trainer.export().to_json()}


def worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    found = [result(make(job, batch_size=4)) for job in JOBS]
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(worker, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("number", range(len(JOBS)), ids=lambda i: "-".join(JOBS[i].values()))
def test_two_processes_equal_one(two_ranks: list[list[dict[str, Any]]], number: int) -> None:
    alone = result(make(JOBS[number], batch_size=8))

    for found in two_ranks:
        for a, b in zip(found[number]["values"], alone["values"], strict=True):
            assert float((a - b).abs().max()) < 1e-10
        assert found[number]["architecture"] == alone["architecture"]
