"""Costs are expectations over architectures; auxiliary skips fade and are never kept."""

from __future__ import annotations

import copy
import itertools
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import Cell, LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError, SpaceError
from nas_plugin.mutators import DartsMutator, EnasMutator, GdasMutator, Mutator, ProxylessMutator
from nas_plugin.operations import FactorizedReduce, add_auxiliary_skips
from nas_plugin.profiling import count_params, flops_table, params_table
from nas_plugin.space.collect import search_space
from nas_plugin.space.cost_table import CostTable
from nas_plugin.space.fix import apply_fixed_architecture
from nas_plugin.trainers import (
    AuxiliarySkip,
    BilevelTrainer,
    EnasTrainer,
    ExpectedCost,
    ProxylessNasTrainer,
    accuracy,
    reward_accuracy,
)
from search_spaces.darts import darts
from tests.mutators.small_net import SmallNet

TABLE = CostTable(
    "units",
    {"a": {"0": 1.0, "1": 10.0, "2": 4.0}, "b": {"0": 3.0, "1": 0.5}, "pick": {"0": 2.0, "1": 7.0}},
    fixed=100.0,
)


def test_a_cost_is_the_expectation_over_all_architectures_and_has_its_gradient() -> None:
    mutator = DartsMutator(SmallNet(), scale=1.0).double()
    mutator.reset()
    found = ExpectedCost(TABLE, weight=0.5)(mutator)
    logits = mutator.alphas.detach().clone().requires_grad_()
    a, b, pick = logits[0].softmax(0), logits[1, :2].softmax(0), logits[2, :2].softmax(0)
    wanted = torch.zeros((), dtype=torch.float64)
    for i, j, k in itertools.product(range(3), range(2), range(2)):
        cost = 100.0 + (1.0, 10.0, 4.0)[i] + (3.0, 0.5)[j] + (2.0, 7.0)[k]
        wanted = wanted + 0.5 * a[i] * b[j] * pick[k] * cost

    assert torch.allclose(found, wanted, rtol=1e-12)
    assert torch.allclose(
        torch.autograd.grad(found, mutator.alphas)[0],
        torch.autograd.grad(wanted, logits)[0],
        rtol=1e-10,
        atol=1e-12,
    )


def test_below_its_target_a_cost_is_free() -> None:
    mutator = DartsMutator(SmallNet(), scale=1.0).double()
    mutator.reset()
    expected = float(ExpectedCost(TABLE, weight=1.0)(mutator).detach())

    assert float(ExpectedCost(TABLE, target=expected + 1)(mutator).detach()) == 0.0
    over = ExpectedCost(TABLE, target=expected / 1.25, weight=3.0)(mutator)
    assert float(over.detach()) == pytest.approx(3.0 * 0.25)
    assert ExpectedCost(TABLE, target=100.0).of({"a": "1", "b": "1", "pick": ("0",)}) == (
        pytest.approx(0.125)
    )


def test_a_hard_mix_costs_what_was_drawn_with_the_gradient_of_its_relaxation() -> None:
    mutator = GdasMutator(SmallNet(), scale=1.0).double()
    generator = torch.Generator()
    generator.set_state(mutator.generator.get_state())
    mutator.reset()
    noise = -torch.empty(3, 3, dtype=torch.float64).exponential_(generator=generator).log()
    logits = mutator.alphas.detach().clone().requires_grad_()
    e = ((logits + noise) / 10.0).exp() * mutator.valid
    p = e / e.sum(dim=1, keepdim=True)
    costs = torch.tensor([[1.0, 10.0, 4.0], [3.0, 0.5, 0.0], [2.0, 7.0, 0.0]]).double()
    found = ExpectedCost(TABLE, weight=1.0)(mutator)
    chosen = p.argmax(dim=1)

    assert float(found.detach()) == pytest.approx(100.0 + float(costs[range(3), chosen].sum()))
    wanted = torch.autograd.grad((p * costs).sum(), logits)[0]
    assert torch.allclose(torch.autograd.grad(found, mutator.alphas)[0], wanted, rtol=1e-10)


def cell() -> nn.ModuleList:
    ops = {"conv": lambda: nn.Conv2d(2, 2, 1), "skip": nn.Identity}
    return nn.ModuleList(
        [Cell("c", lambda n, s: {name: op() for name, op in ops.items()}, n_nodes=2, output="last")]
    )


def test_edges_count_as_often_as_a_node_keeps_them_or_with_their_betas() -> None:
    model = cell()
    edges = [key for key, c in search_space(model).items() if c.kind == "layer"]
    table = CostTable("units", {key: {"conv": 10.0, "skip": 0.0} for key in edges})
    mutator = DartsMutator(model, scale=1.0)
    mutator.reset()
    p = mutator.alphas.detach().softmax(dim=1)[:, 0]
    # Node 2 keeps both of its edges, node 3 two of three.
    expected = 10 * (p[0] + p[1]) + 10 * 2 / 3 * (p[2] + p[3] + p[4])
    assert torch.allclose(ExpectedCost(table, weight=1.0)(mutator), expected)

    mutator = DartsMutator(cell(), scale=0.1)
    mutator.add_betas()
    mutator.reset()
    assert mutator.betas is not None
    p = mutator.alphas.detach().softmax(dim=1)[:, 0]
    two, three = mutator.betas[0, :2].detach().softmax(0), mutator.betas[1].detach().softmax(0)
    shares = torch.cat([(2 * two).clamp(max=1), (2 * three).clamp(max=1)])
    found = ExpectedCost(table, weight=1.0)(mutator)
    assert torch.allclose(found, 10 * (shares * p).sum())
    assert mutator.betas.grad is None
    assert bool((torch.autograd.grad(found, mutator.betas)[0][1] != 0).all())


def test_what_lies_in_a_candidate_counts_with_its_probability() -> None:
    inner = LayerChoice({"x": nn.Linear(2, 2), "y": nn.Identity()}, key="inner")
    outer = LayerChoice({"deep": nn.Sequential(inner), "flat": nn.Identity()}, key="outer")
    mutator = DartsMutator(outer, scale=1.0)
    mutator.reset()
    p = mutator.alphas.detach().softmax(dim=1)
    rows = {key: p[i] for i, key in enumerate(mutator.rows)}
    table = CostTable("u", {"inner": {"x": 8.0, "y": 2.0}, "outer": {"deep": 1.0, "flat": 5.0}})

    met = rows["outer"][0] * (8 * rows["inner"][0] + 2 * rows["inner"][1])
    expected = rows["outer"][0] + 5 * rows["outer"][1] + met
    assert torch.allclose(ExpectedCost(table, weight=1.0)(mutator), expected)


def test_a_heavy_cost_makes_a_search_find_the_cheapest_architecture() -> None:
    for made in (DartsMutator, GdasMutator, ProxylessMutator):
        net = cell()
        model = nn.Sequential(Adapter(net), nn.Flatten(), nn.Linear(8, 2))
        data = ArrayDataset(torch.randn(32, 2, 2, 2), torch.arange(32) % 2)
        table = params_table(model, torch.zeros(1, 2, 2, 2))
        trainer = trainer_of(made)(
            model, nn.functional.cross_entropy, accuracy,
            torch.optim.SGD(model.parameters(), lr=0.01), 6, data, data, mutator=made,
            batch_size=4, device="cpu", progress=False, arch_learning_rate=0.1, split=0.5,
            regularizers=[ExpectedCost(table, weight=1.0)],
        )  # fmt: skip
        trainer.train()
        found = trainer.export()
        assert all(v == "skip" for k, v in found.items() if "_p" in k), made


def trainer_of(mutator: type[Mutator]) -> Any:
    return ProxylessNasTrainer if mutator is ProxylessMutator else BilevelTrainer


class Adapter(nn.Module):
    """Gives a cell its input twice."""

    def __init__(self, cells: nn.ModuleList) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, x: Tensor) -> Any:
        return self.cells[0](x, x)


def test_the_controllers_reward_is_less_by_the_cost_of_its_architecture() -> None:
    model = nn.Sequential(LayerChoice([nn.Linear(4, 2), nn.Identity()]), nn.Linear(2, 2))
    model[0]["1"] = nn.Linear(4, 2, bias=False)
    data = ArrayDataset(torch.randn(40, 4), torch.arange(40) % 2)
    table = params_table(model, torch.zeros(1, 4))
    assert table.costs["0"] == {"0": 10.0, "1": 8.0}

    def made(costs: list[ExpectedCost]) -> EnasTrainer:
        twin = copy.deepcopy(model)
        return EnasTrainer(
            twin, nn.functional.cross_entropy, accuracy, reward_accuracy,
            torch.optim.SGD(twin.parameters(), lr=0.1), 1, data, data, batch_size=4, device="cpu",
            progress=False, costs=costs, baseline_decay=0.0, mutator=EnasMutator,
        )  # fmt: skip

    plain, costly = made([]), made([ExpectedCost(table, weight=0.01)])
    batch = (torch.randn(4, 4), torch.arange(4) % 2)
    for trainer in (plain, costly):
        trainer.reinforce(batch)
    written = costly.mutator.written
    assert written is not None
    cost = 0.01 * (6 + {"0": 10, "1": 8}[str(written.architecture["0"])])
    # Without memory the baseline is the reward itself.
    assert plain.baseline - costly.baseline == pytest.approx(cost)


def test_counted_parameters_are_those_of_every_child() -> None:
    net, x = darts(channels=4, layers=3, nodes=2), torch.zeros(1, 3, 8, 8)
    table, flops = params_table(net, x), flops_table(net, x)
    for seed in range(3):
        architecture = search_space(net).sample(Random(seed))
        child = apply_fixed_architecture(copy.deepcopy(net), architecture)
        assert table(architecture) == count_params(child)
    narrow = flops_table(darts(channels=4, layers=3, nodes=2, partial=4), x)
    assert (
        0 < narrow.costs["normal_n2_p0"]["sepconv3x3"] < flops.costs["normal_n2_p0"]["sepconv3x3"]
    )


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(OptionError, match="needs a weight .* or a target"):
        ExpectedCost(TABLE)
    with pytest.raises(OptionError, match="target of a cost must be positive"):
        ExpectedCost(TABLE, target=0.0)
    model = nn.Sequential(LayerChoice([nn.Linear(4, 2), nn.Linear(4, 2)]))
    data = ArrayDataset(torch.randn(8, 4), torch.arange(8) % 2)
    with pytest.raises(SpaceError, match="has the key 'a', which the search space does not know"):
        BilevelTrainer(
            model, nn.functional.cross_entropy, accuracy,
            torch.optim.SGD(model.parameters(), lr=0.1), 1, data, data, mutator="darts",
            batch_size=2, regularizers=[ExpectedCost(TABLE, weight=1.0)],
        )  # fmt: skip


def test_auxiliary_skips_are_added_scaled_and_never_kept() -> None:
    torch.manual_seed(0)
    net = darts(channels=4, layers=3, nodes=2)
    plain = copy.deepcopy(net)
    x = torch.randn(2, 3, 8, 8)
    add_auxiliary_skips(net, x)
    kinds = {
        (cell.given_key, source): type(cell.edges[f"n3_p{source}"].auxiliary)
        for cell in net.cells
        for source in range(3)
    }
    # Edges from the inputs of reductions halve, all others keep the shape.
    assert {k for k, t in kinds.items() if t is FactorizedReduce} == {("reduce", 0), ("reduce", 1)}
    assert all(t in (FactorizedReduce, nn.Identity) for t in kinds.values())
    extra = sum(p.numel() for e in net.modules() if isinstance(e, LayerChoice)
                for p in e.auxiliary.parameters())  # fmt: skip
    assert count_params(net) == count_params(plain) + extra and extra > 0

    data = ArrayDataset(torch.randn(8, 3, 8, 8), torch.arange(8) % 2)

    def made(model: nn.Module, regularizers: list[Any]) -> BilevelTrainer:
        return BilevelTrainer(
            model, nn.functional.cross_entropy, accuracy,
            torch.optim.SGD(model.parameters(), lr=0.1), 3, data, data, mutator="darts",
            batch_size=2, device="cpu", progress=False, regularizers=regularizers,
        )  # fmt: skip

    trainer = made(net, [AuxiliarySkip()])
    scales = []
    for epoch in range(3):
        trainer.start_epoch(epoch)
        scales.append(net.cells[0].edges["n2_p0"].auxiliary_scale)
    assert scales == [1.0, 0.5, 0.0]
    architecture = trainer.export()
    fixed = apply_fixed_architecture(net, architecture)
    assert not any("auxiliary" in name for name, _ in fixed.named_modules())
    with pytest.raises(OptionError, match="the model has none. Call add_auxiliary_skips"):
        made(plain, [AuxiliarySkip()])


def test_the_auxiliary_skip_is_added_to_the_output_with_its_scale() -> None:
    torch.manual_seed(0)
    block = LayerChoice({"lin": nn.Linear(3, 3), "tanh": nn.Tanh()}, key="k").double()
    x = torch.randn(2, 3, dtype=torch.float64)
    add_auxiliary_skips(block, x)
    mutator = DartsMutator(block, scale=1.0).double()
    mutator.reset()
    p = mutator.alphas[0].softmax(0)
    mixed = p[0] * block["lin"](x) + p[1] * x.tanh()

    assert torch.allclose(block(x), mixed)
    block.auxiliary_scale = 0.7
    assert torch.allclose(block(x), mixed + 0.7 * x, rtol=1e-12)
    assert block.reader() is None  # several read the input, so that in-place layers get a copy
    mutator.unbind(block)
    with pytest.raises(OptionError, match=r"gives \(2, 2\) of \(2, 3\)"):
        add_auxiliary_skips(LayerChoice([nn.Linear(3, 2)]), torch.zeros(2, 3))
