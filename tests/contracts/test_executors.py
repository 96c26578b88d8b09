"""Every executor in the registry, and the one that proves the seam, keeps the contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from nas_plugin.contracts.executor import FanNet
from nas_plugin.errors import NasError
from nas_plugin.execution import Dispatcher, executors, explain, verify
from nas_plugin.mutators import DartsMutator
from nas_plugin.testing import EXECUTOR_CHECKS, GroupedPointwise

ALL = [GroupedPointwise, *(executors.get(name) for name in executors)]


class Wrong(GroupedPointwise):
    def run(self, x, plan, mix):  # type: ignore[no-untyped-def]
        return [2 * out for out in super().run(x, plan, mix)]


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
    check: Callable[..., None], executor: type[GroupedPointwise], model: FanNet, x: torch.Tensor
) -> None:
    check(executor(), model, x)


def test_a_wrong_executor_fails_the_contract(model: FanNet, x: torch.Tensor) -> None:
    with pytest.raises(AssertionError, match="outputs differ"):
        EXECUTOR_CHECKS[0](Wrong(), model, x)


def test_verify_refuses_what_is_not_equal(
    model: FanNet, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(executors._members, "wrong", Wrong)
    mutator = DartsMutator(model)
    mutator.reset()

    with pytest.raises(NasError, match="outputs differ by .* 'training'"):
        verify(model, x, execution="wrong")
    with pytest.raises(NasError, match="Nothing has decided"):
        mutator.unbind(model)
        verify(model, x)


def test_verify_accepts_what_is_equal_and_changes_nothing(
    model: FanNet, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(executors._members, "pointwise", GroupedPointwise)
    mutator = DartsMutator(model)
    mutator.reset()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    assert verify(model, (x, None), execution="pointwise") < 1e-12

    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_explain_says_who_runs_a_block_and_why_others_do_not(
    model: FanNet, x: torch.Tensor
) -> None:
    mutator = DartsMutator(model).double()
    mutator.binding.dispatch = Dispatcher([GroupedPointwise()])
    mutator.reset()
    model.cell.edges["n2_p1"]["two"].register_forward_hook(lambda *_: None)

    model(x)
    lines = "\n".join(explain(model))

    assert "cell.edges.n3_p0: pointwise runs 3 of 3\n" in lines
    assert "cell.edges.n3_p1: pointwise runs 2 of 3 ('other' pointwise: is not a 1x1" in lines
    assert "cell.edges.n2_p1: pointwise runs 2 of 3 ('two' has hooks)" in lines
    assert "n4_p3: module by module ('one' pointwise: fewer than 2 blocks" in lines
    assert "cell.switches.n2: module by module (InputChoice is no LayerChoice" in lines


def test_one_hooked_candidate_costs_the_others_nothing_and_its_hook_fires(
    model: FanNet, x: torch.Tensor
) -> None:
    mutator = DartsMutator(model).double()
    dispatcher = Dispatcher([GroupedPointwise()])
    mutator.binding.dispatch = dispatcher
    mutator.reset()
    expected = model(x)
    fired: list[bool] = []

    handle = model.cell.edges["n3_p0"]["two"].register_forward_hook(lambda *_: fired.append(True))
    hooked = model(x)
    assert fired == [True]
    schedule = dispatcher.fans[0].last
    assert schedule is not None
    assert (1, 1) not in schedule.served_by and (1, 0) in schedule.served_by

    handle.remove()
    model(x)
    assert fired == [True]
    schedule = dispatcher.fans[0].last
    assert schedule is not None and (1, 1) in schedule.served_by
    torch.testing.assert_close(hooked, expected)


def test_hooks_of_a_block_and_patched_forwards_are_never_passed_by(
    model: FanNet, x: torch.Tensor
) -> None:
    mutator = DartsMutator(model).double()
    mutator.binding.dispatch = Dispatcher([GroupedPointwise()])
    mutator.reset()
    model(x)
    ran: list[str] = []
    model.cell.edges["n3_p0"].register_forward_pre_hook(lambda *_: ran.append("block"))
    patched = model.cell.edges["n4_p0"]["two"]
    plain = patched.forward
    patched.forward = lambda x: (ran.append("patched"), plain(x))[1]  # type: ignore[method-assign]

    model(x)

    assert sorted(ran) == ["block", "patched"]


def test_a_replaced_part_of_a_candidate_is_noticed() -> None:
    class Wrapped(GroupedPointwise):
        """Looks inside a Sequential of one convolution."""

        def plan(self, offers, *, mixed):  # type: ignore[no-untyped-def]
            inner = [type(o)(o.place, o.module[0]) for o in offers]
            return super().plan(inner, mixed=mixed)

    from nas_plugin.choice import LayerChoice, fan_out

    def edge() -> LayerChoice:
        convs = {name: nn.Sequential(nn.Conv2d(2, 2, 1, bias=False)) for name in "ab"}
        return LayerChoice(convs)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.edges = nn.ModuleList([edge(), edge()])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = sum(fan_out(x, list(self.edges)))  # type: ignore[assignment]
            return out

    net, x = Net(), torch.randn(1, 2, 3, 3)
    mutator = DartsMutator(net)
    mutator.binding.dispatch = Dispatcher([Wrapped()])
    mutator.reset()
    net(x)
    net.edges[0]["a"][0] = nn.Conv2d(2, 2, 1, bias=False)

    served = net(x)
    mutator.binding.dispatch = None
    torch.testing.assert_close(served, net(x))


def test_plans_are_made_once_and_dropped_when_blocks_are_freed(
    model: FanNet, x: torch.Tensor
) -> None:
    made = []

    class Counting(GroupedPointwise):
        def plan(self, offers, *, mixed):  # type: ignore[no-untyped-def]
            made.append(len(offers))
            return super().plan(offers, mixed=mixed)

    mutator = DartsMutator(model).double()
    dispatcher = Dispatcher([Counting()])
    mutator.binding.dispatch = dispatcher
    for _ in range(3):
        mutator.reset()
        model(x)
    assert len(made) == len(dispatcher.fans) == 4  # sources 0 to 3

    mutator.unbind(model)

    assert dispatcher.fans == []


def test_an_unknown_execution_is_refused_with_the_known_ones(model: FanNet) -> None:
    from nas_plugin.execution import attach

    mutator = DartsMutator(model)

    with pytest.raises(NasError, match="execution must be one of auto, eager.*got 'fast'"):
        attach(mutator.binding, "fast")


def test_copies_of_a_dispatcher_bring_no_modules_along(model: FanNet, x: torch.Tensor) -> None:
    import copy

    mutator = DartsMutator(model).double()
    mutator.binding.dispatch = Dispatcher([GroupedPointwise()])
    mutator.reset()
    model(x)

    twin = copy.deepcopy(mutator.binding.dispatch)

    assert twin.fans == []
