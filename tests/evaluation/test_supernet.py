"""Validation of single paths with the weights of a supernet."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import ChoiceError, OptionError, TrainingError
from nas_plugin.evaluation import SupernetEvaluator
from nas_plugin.mutators import RandomMutator
from nas_plugin.space.fix import apply_fixed_architecture
from nas_plugin.strategies import Proposal


class Net(nn.Module):
    """Batch norms inside the candidates and behind them."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = LayerChoice(
                {
                    "flat": nn.Linear(4, 4),
                    "normed": nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
                }
            )
            self.second = LayerChoice({"one": nn.Linear(4, 4), "none": nn.Identity()})
            self.norm = nn.BatchNorm1d(4)
            self.drop = nn.Dropout(0.5)
            self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.drop(self.norm(self.second(self.first(x))).relu()))
        return out


def data(n: int, seed: int) -> ArrayDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator) * 3 + 1
    return ArrayDataset(x, torch.arange(n) % 3)


TRAIN, VALID = data(32, 0), data(30, 1)


def make(net: nn.Module | None = None, **options: object) -> SupernetEvaluator:
    settings = {"calibration_batches": 3, "batch_size": 8, "device": "cpu", **options}
    return SupernetEvaluator(net or Net(), TRAIN, VALID, **settings)  # type: ignore[arg-type]


def results(evaluator: SupernetEvaluator, *, backwards: bool = False) -> list[str]:
    architectures = list(evaluator.space.enumerate())
    order = reversed(architectures) if backwards else architectures
    found = {a: evaluator.evaluate(Proposal(i, a)).metrics for i, a in enumerate(order)}
    return [repr(sorted(found[a].items())) for a in architectures]


def test_a_result_depends_on_neither_order_nor_process() -> None:
    here = results(make())

    assert here == results(make(), backwards=True) == results(make(Net()))
    assert len(set(here)) == 4
    code = (
        "import torch; torch.set_num_threads(1); torch.manual_seed(7)\n"
        f"from {Path(__file__).stem} import make, results; print('\\n'.join(results(make())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == here


def test_a_result_is_that_of_the_plain_child_with_the_mean_statistics_of_the_batches() -> None:
    net = Net()
    evaluator = make(net)
    architecture = evaluator.space.architecture({"first": "normed", "second": "one"})
    metrics = evaluator.evaluate(Proposal(0, architecture)).metrics

    child = apply_fixed_architecture(Net(), architecture).eval()
    batches = [x for x, _ in evaluator._train.batches(0)][:3]
    norms = [m for m in child.modules() if isinstance(m, nn.BatchNorm1d)]
    seen: list[list[Tensor]] = [[] for _ in norms]
    for norm, inputs in zip(norms, seen, strict=True):
        norm.train()
        norm.register_forward_pre_hook(lambda _, args, inputs=inputs: inputs.append(args[0]))
    with torch.no_grad():
        for x in batches:
            child(x)
    for norm, inputs in zip(norms, seen, strict=True):
        norm.running_mean = torch.stack([x.mean(0) for x in inputs]).mean(0)
        norm.running_var = torch.stack([x.var(0) for x in inputs]).mean(0)
        norm.eval()
    with torch.no_grad():
        output = child(VALID.inputs)
    loss = nn.functional.cross_entropy(output, VALID.targets)
    right = (output.argmax(1) == VALID.targets).float().mean()
    assert metrics["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert metrics["accuracy"] == metrics["default"] == pytest.approx(100 * float(right))


def test_calibration_of_zero_batches_keeps_the_statistics() -> None:
    net = Net()
    net.norm.running_mean.fill_(0.5)  # type: ignore[union-attr]
    evaluator = make(net, calibration_batches=0)
    architecture = evaluator.space.first()
    loss = evaluator.evaluate(Proposal(0, architecture)).metrics["loss"]

    evaluator.close()
    child = apply_fixed_architecture(copy.deepcopy(net), architecture).eval()
    with torch.no_grad():
        expected = nn.functional.cross_entropy(child(VALID.inputs), VALID.targets)
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert loss != make().evaluate(Proposal(0, architecture)).metrics["loss"]


def test_the_supernet_is_unchanged_afterwards() -> None:
    net = Net()
    before = copy.deepcopy(net.state_dict())
    evaluator = make(net)
    results(evaluator)

    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert not any(module.training for module in net.modules())


def test_more_batches_than_the_data_holds_begin_again() -> None:
    evaluator = make(calibration_batches=9)
    assert evaluator.evaluate(Proposal(0, evaluator.space.first())).metrics["loss"] > 0


def test_a_supernet_that_a_mutator_decides_is_refused_until_it_is_free() -> None:
    net = Net()
    mutator = RandomMutator(net)
    with pytest.raises(ChoiceError):
        make(net)
    mutator.unbind(net)
    make(net).close()
    make(net)


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    net = Net()
    nn.init.constant_(net.last.bias, float("nan"))
    evaluator = make(net)
    with pytest.raises(TrainingError, match="loss is nan"):
        evaluator.evaluate(Proposal(0, evaluator.space.first()))


@pytest.mark.parametrize(
    "wrong", [{"calibration_batches": -1}, {"batch_size": 0}, {"batch_size": 64}]
)
def test_numbers_that_cannot_be_meant_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        make(**wrong)
