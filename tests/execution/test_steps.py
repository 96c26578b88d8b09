"""Whole steps under an executor: equal to eager ones, without waiting for the device."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.data import ArrayDataset
from nas_plugin.execution import attach, executors, services
from nas_plugin.mutators import mutators
from nas_plugin.trainers import DartsTrainer, accuracy
from search_spaces.darts import darts
from search_spaces.nasbench201 import nasbench201

SERVING = [name for name in executors if executors.get(name).unavailable() is None]


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def trainer(execution: str, space: str = "darts", **options: Any) -> DartsTrainer:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"channels": 4}
    build = nasbench201 if space == "nasbench201" else darts
    sizes |= {"cells": 1} if space == "nasbench201" else {"layers": 3, "nodes": 2}
    images = torch.randn(16, 3, 8, 8)
    data = ArrayDataset(images, torch.arange(16) % 10)
    return DartsTrainer(
        build(**sizes), nn.functional.cross_entropy, accuracy,
        lambda weights: torch.optim.SGD(weights, 0.025, 0.9, weight_decay=3e-4),
        1, data, data, batch_size=4, device="cpu", grad_clip=5.0, execution=execution,
        augment=None, eval_augment=None, progress=False, **options,
    )  # fmt: skip


def after_three_steps(found: DartsTrainer) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        batches = [
            (
                torch.randn(4, 3, 8, 8, generator=generator),
                torch.randint(10, (4,), generator=generator),
            )
            for _ in range(2)
        ]
        found.train_step((batches[0], batches[1]))
    kept = [*found.model.parameters(), *found.model.buffers(), *found.alphas]
    return [tensor.detach().double() for tensor in kept]


@pytest.mark.parametrize("execution", SERVING)
@pytest.mark.parametrize("space", ["darts", "nasbench201"])
@pytest.mark.parametrize(
    "options",
    [{}, {"unrolled": True}, {"unrolled": True, "hessian": "exact"}],
    ids=["first order", "second order", "exact"],
)
def test_three_whole_steps_equal_eager_ones(
    options: dict[str, Any], space: str, execution: str
) -> None:
    served = trainer(execution, space, **options)
    eager = after_three_steps(trainer("eager", space, **options))

    for ours, theirs in zip(after_three_steps(served), eager, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)

    blocks = [s for s in services(served.model) if "switches" not in s.path]
    assert all(service.is_served for service in blocks), [str(s) for s in blocks]


@pytest.mark.parametrize("unrolled", [False, True], ids=["first order", "second order"])
def test_a_step_with_wide_never_waits_for_the_device(
    unrolled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher = trainer("wide", unrolled=unrolled)
    batch = (torch.randn(4, 3, 8, 8), torch.randint(10, (4,)))
    searcher.train_step((batch, batch))
    waits: list[str] = []
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "numpy"):
        method = getattr(Tensor, name)

        def counted(self: Tensor, *args: Any, _name: str = name, _method: Any = method) -> Any:
            waits.append(_name)
            return _method(self, *args)

        monkeypatch.setattr(Tensor, name, counted)

    assert all(grad is not None for grad in searcher.arch_gradient(batch, batch))
    assert searcher.gradients(batch, searcher.weights)[0]

    assert waits == []


@pytest.mark.parametrize("name", list(mutators))
def test_every_mutator_decides_the_same_under_auto(name: str) -> None:
    outputs = []
    for execution in ("eager", "auto"):
        torch.manual_seed(0)
        model = darts(channels=4, layers=3, nodes=2, partial=4 if name == "pc_darts" else 1)
        mutator = mutators.get(name)(model, seed=0).double()
        attach(mutator.binding, execution)
        mutator.reset()
        outputs.append(model(torch.randn(2, 3, 8, 8)))

    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-9)


def test_a_resume_under_another_executor_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = trainer("wide", checkpoint_dir=tmp_path)
    first.save()
    again = trainer("eager")

    with caplog.at_level(logging.WARNING):
        again.load_state_dict(first.state_dict())

    assert "resumed with execution eager, saved with wide" in caplog.text
