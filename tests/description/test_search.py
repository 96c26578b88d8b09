"""A hierarchical space, searched by methods that know nothing of graphs."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from nas_plugin import (
    DartsTrainer,
    RetrainTrainer,
    SPOSSupernetTrainer,
    accuracy,
    apply_fixed_architecture,
    load_data,
    search_space,
)
from nas_plugin.choice import keyed_blocks
from nas_plugin.description import compile_graph, describe, from_yaml, to_yaml
from nas_plugin.strategies import strategies
from nas_plugin.strategies.proposal import Outcome

TEXT = """
inputs: {image: [1, 8, 8]}
operations:
  fine:
    nodes:
      a: {one_of: [conv_bn_relu, {name: sep_conv, kernel: 3}], key: fine_a}
      out: {from: [a, input]}
  coarse:
    nodes:
      a: {one_of: [max_pool, avg_pool]}
      b: {from: {a: , input: {one_of: [relu, identity]}}, join: {any: 1}, op: conv_bn_relu}
  cell:
    key: cell
    nodes:
      first: {one_of: {fine: fine, coarse: coarse}}
      second: {from: input, op: {one_of: {fine: fine, skip: identity}}}
      out: {from: [first, second], join: concat}
      back: {name: conv_bn_relu, kernel: 1, c_out: c_in // 2}
nodes:
  stem: {name: conv_bn_relu, c_out: 4}
  body: {repeat: cell, times: [1, 2], key: depth}
  free: {repeat: coarse, times: 2}
  head: [global_avg_pool, {name: linear, c_out: 10}]
"""


@pytest.fixture(scope="module")
def data():
    return load_data("digits", split="train", limit=64), load_data("digits", split="test", limit=32)


def options(model, data):
    return {
        "loss": cross_entropy,
        "metrics": accuracy,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05),
        "num_epochs": 1,
        "dataset_train": data[0],
        "dataset_valid": data[1],
        "batch_size": 16,
        "device": "cpu",
        "progress": False,
    }


def by_darts(model, data, folder):
    trainer = DartsTrainer(model, **options(model, data))
    trainer.train()
    return trainer.export(folder / "architecture.json")


def evolved(model, weights):
    """Returns what regularized evolution finds, measured on inherited weights."""
    space = search_space(model)
    x = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    search = strategies.get("regularized_evolution")(
        space, objective="spread", seed=0, population=4, sample=2
    )
    best = None
    for _ in range(10):
        proposal = search.ask()
        child = copy.deepcopy(model)
        child.load_state_dict(weights)
        child = apply_fixed_architecture(child, proposal.architecture).eval()
        score = float(child(x).detach().std())
        search.tell(proposal.id, Outcome(metrics={"spread": score}))
        best = max(best or (score, proposal.architecture), (score, proposal.architecture),
                   key=lambda pair: pair[0])  # fmt: skip
    return best[1]


def by_spos(model, data, folder):
    trainer = SPOSSupernetTrainer(model, **options(model, data))
    trainer.train()
    weights = copy.deepcopy(model.state_dict())
    return evolved(compile_graph(from_yaml(TEXT)), weights)


def by_evolution(model, data, folder):
    return evolved(model, model.state_dict())


@pytest.mark.parametrize("method", [by_darts, by_spos, by_evolution])
def test_a_hierarchical_space_is_searched_fixed_described_compiled_retrained(
    method, data, tmp_path
):
    torch.manual_seed(0)
    net = from_yaml(TEXT)
    model = compile_graph(net)
    assert {"depth", "fine_a", "cell/first", "cell/second"} < set(search_space(model))

    architecture = method(model, data, tmp_path)

    fresh = compile_graph(net)
    description = describe(net, architecture)
    fixed = apply_fixed_architecture(fresh, architecture)
    child = compile_graph(from_yaml(to_yaml(description.graph)))
    assert not keyed_blocks(child)
    child.load_state_dict(description.state_dict(fixed.state_dict()))
    assert set(description.names.values()) == set(fixed.state_dict())
    x = torch.randn(4, 1, 8, 8)
    for training in (True, False):
        assert torch.equal(child.train(training)(x), fixed.train(training)(x))
    before = child.head.linear.weight.clone()
    retraining = options(child, data)
    RetrainTrainer(child, **retraining).train()
    assert not torch.equal(child.head.linear.weight, before)
