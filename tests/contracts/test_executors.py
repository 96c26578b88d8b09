"""Every executor in the registry, and the one that proves the seam, keeps the contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nas_plugin.contracts.executor import FanNet
from nas_plugin.errors import NasError
from nas_plugin.execution import Dispatcher, Executor, executors, explain, verify
from nas_plugin.mutators import DartsMutator
from nas_plugin.testing import EXECUTOR_CHECKS, GroupedPointwise

ALL = [GroupedPointwise, *(executors.get(name) for name in executors)]


@pytest.fixture
def model() -> FanNet:
    torch.manual_seed(0)
    return FanNet().double()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 4, 5, 5, dtype=torch.float64)


@pytest.mark.parametrize("executor", ALL)
@pytest.mark.parametrize("check", EXECUTOR_CHECKS, ids=lambda check: check.__name__)
def test_every_executor_keeps_its_contract(
    check: Callable[..., None], executor: type[Executor], model: FanNet, x: torch.Tensor
) -> None:
    check(executor(), model, x)


def test_a_wrong_executor_fails_the_contract(model: FanNet, x: torch.Tensor) -> None:
    class Wrong(GroupedPointwise):
        def run(self, x, blocks, decisions):  # type: ignore[no-untyped-def]
            return [2 * out for out in super().run(x, blocks, decisions)]

    with pytest.raises(AssertionError):
        EXECUTOR_CHECKS[0](Wrong(), model, x)


def test_explain_says_why_a_block_runs_alone(
    model: FanNet, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(executors._members, "pointwise", GroupedPointwise)
    monkeypatch.setattr(GroupedPointwise, "name", "pointwise", raising=False)
    mutator = DartsMutator(model)
    mutator.double()
    mutator.reset()

    lines = explain(model)

    assert any(line.endswith(": pointwise") for line in lines)
    assert any("'other' is not a 1x1 convolution without bias" in line for line in lines)
    assert any("InputChoice is not a LayerChoice" in line for line in lines)
    assert verify(model, mutator.binding, x) < 1e-10


def test_verify_refuses_what_is_not_equal(
    model: FanNet, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(GroupedPointwise):
        def run(self, x, blocks, decisions):  # type: ignore[no-untyped-def]
            return [2 * out for out in super().run(x, blocks, decisions)]

    monkeypatch.setitem(executors._members, "wrong", Wrong)
    mutator = DartsMutator(model)
    mutator.double()
    mutator.reset()

    with pytest.raises(NasError, match="differs from the eager one"):
        verify(model, mutator.binding, x)


def test_a_lone_block_runs_as_a_module_so_that_its_hooks_fire(model: FanNet) -> None:
    mutator = DartsMutator(model)
    mutator.double()
    mutator.binding.dispatch = Dispatcher([GroupedPointwise()])
    fired = []
    # From node 3 one edge leaves, to node 4: it is alone.
    model.cell.edges["n4_p3"].register_forward_hook(lambda *_: fired.append(True))
    mutator.reset()
    model(torch.randn(1, 4, 3, 3, dtype=torch.float64))

    assert fired
