"""DARTS: mixes are softmaxes of one padded table, and gradients reach every logit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nas_plugin import (
    Cell,
    DartsMutator,
    InputChoice,
    LayerChoice,
    MutableScope,
    Repeat,
    apply_fixed_architecture,
)
from nas_plugin.contracts.mutator import EveryBlock
from nas_plugin.errors import CheckpointError, OptionError, SpaceError
from nas_plugin.mutators import mutators
from nas_plugin.operations import Zero


class Scale(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.by * x


class Net(nn.Module):
    """Three and two candidates in a row, then one input of two."""

    def __init__(self) -> None:
        super().__init__()
        self.a = LayerChoice([Scale(1.0), Scale(-2.0), Scale(3.0)])
        self.b = LayerChoice([Scale(0.5), Scale(4.0)])
        self.pick = InputChoice(2, n_chosen=1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.a(x)
        out: Tensor = self.pick([first, self.b(first)])
        return out


def make(seed: int = 0) -> tuple[Net, DartsMutator]:
    model = Net()
    mutator = DartsMutator(model, seed=seed, scale=1.0)
    mutator.double()
    return model, mutator


def test_the_output_is_that_of_softmaxes_written_out() -> None:
    model, mutator = make()
    a, b, pick = (mutator.alphas[i] for i in range(3))
    x = torch.tensor([2.0, -1.0], dtype=torch.float64)
    mutator.reset()

    p, q, r = a.softmax(0), b[:2].softmax(0), pick[:2].softmax(0)
    first = (p[0] - 2 * p[1] + 3 * p[2]) * x
    expected = r[0] * first + r[1] * (0.5 * q[0] + 4 * q[1]) * first

    assert mutator.rows == ["a", "b", "pick"]
    assert torch.allclose(model(x), expected, rtol=1e-12)
    found = torch.autograd.grad(model(x).sum(), mutator.alphas)[0]
    by_hand = torch.autograd.grad(expected.sum(), mutator.alphas)[0]
    assert torch.allclose(found, by_hand, rtol=1e-12)


def test_gradients_reach_every_logit_and_none_of_the_padding() -> None:
    torch.manual_seed(0)
    model = EveryBlock().double()
    mutator = DartsMutator(model, scale=1.0)
    mutator.double()
    mutator.reset()
    model(torch.randn(2, 4, 3, 3, dtype=torch.float64)).square().sum().backward()
    grad = mutator.alphas.grad

    assert grad is not None
    assert bool((grad[mutator.valid] != 0).all())
    assert bool((grad[~mutator.valid] == 0).all())
    assert bool((mutator.alphas[~mutator.valid] == 0).all())


def test_a_reset_without_gradients_gives_mixes_without_them() -> None:
    model, mutator = make()
    with torch.no_grad():
        mutator.reset()
    model(torch.ones(2, dtype=torch.float64)).sum().backward()

    assert mutator.alphas.grad is None
    assert all(p.grad is not None for p in model.parameters())


def test_logits_and_weights_are_strangers() -> None:
    model, mutator = make()

    assert [name for name, _ in mutator.named_parameters()] == ["alphas"]
    assert not any("alpha" in name for name, _ in model.named_parameters())


def test_the_seed_decides_the_logits() -> None:
    state = torch.get_rng_state()

    assert torch.equal(make(1)[1].alphas, make(1)[1].alphas)
    assert not torch.equal(make(1)[1].alphas, make(2)[1].alphas)
    assert torch.equal(torch.get_rng_state(), state)


def test_inputs_that_follow_edges_have_no_logits_and_the_strongest_edges_are_kept() -> None:
    ops = {"none": Zero, "tanh": nn.Tanh, "skip": nn.Identity}
    model = nn.ModuleList(
        [Cell("c", lambda n, s: {name: op() for name, op in ops.items()}, n_nodes=2)]
    )
    mutator = DartsMutator(model)
    assert mutator.rows == ["c_n2_p0", "c_n2_p1", "c_n3_p0", "c_n3_p1", "c_n3_p2"]
    with torch.no_grad():
        mutator.alphas.copy_(
            torch.tensor([[9, 1, 0], [0, 0, 1], [9, 2, 2.1], [0, 0.3, 0.2], [0, 0.1, 0.2]])
        )

    found = mutator.export()

    assert found["c_n2_switch"] == ("c_n2_p0", "c_n2_p1")
    assert (found["c_n2_p0"], found["c_n2_p1"]) == ("tanh", "skip")
    # The edge from 0 is all "none": what is left of it is weaker than the others.
    assert found["c_n3_switch"] == ("c_n3_p1", "c_n3_p2")
    mutator.reset()
    assert mutator.binding.decisions["c_n3_switch"].active == (0, 1, 2)
    assert mutator.binding.decisions["c_n3_switch"].mix is None


def test_inputs_of_any_number_are_independent_of_one_another() -> None:
    model = nn.ModuleList([InputChoice(3, key="any")])
    mutator = DartsMutator(model)
    with torch.no_grad():
        mutator.alphas.copy_(torch.tensor([[2.0, -2.0, 0.5]]))
    mutator.reset()

    mix = mutator.binding.decisions["any"].mix
    assert mix is not None
    assert torch.equal(mix, torch.tensor([2.0, -2.0, 0.5]).sigmoid())
    assert mutator.export()["any"] == (0, 2)


def test_depths_are_mixed_and_the_best_is_kept() -> None:
    mutator = DartsMutator(nn.ModuleList([Repeat(lambda _: nn.Identity(), (1, 3), key="d")]))
    with torch.no_grad():
        mutator.alphas.copy_(torch.tensor([[0.0, 1.0, 0.5]]))

    assert mutator.export()["d"] == 2
    assert list(mutator.status()["d"]) == ["1", "2", "3"]


def test_the_state_of_another_space_is_refused_by_key() -> None:
    _, mutator = make()
    other = Net()
    del other.a[0]
    changed = DartsMutator(other)
    with pytest.raises((CheckpointError, RuntimeError), match="differs at 'a'|size mismatch"):
        changed.load_state_dict(mutator.state_dict())


def test_a_model_without_choices_is_refused() -> None:
    with pytest.raises(SpaceError, match="no choice block"):
        DartsMutator(nn.Linear(2, 2))


class NniNode(nn.Module):
    """As NNI 1.x users write a node: keys by hand, a switch over the edges' keys."""

    def __init__(self, node_id: str, n_previous: int) -> None:
        super().__init__()
        keys = [f"{node_id}_p{i}" for i in range(n_previous)]
        self.ops = nn.ModuleList(
            LayerChoice({"tanh": nn.Tanh(), "linear": nn.Linear(2, 2)}, key=key) for key in keys
        )
        self.input_switch = InputChoice(
            choose_from=keys, n_chosen=2, key=f"{node_id}_switch", return_mask=True
        )

    def forward(self, previous: list[Tensor]) -> Tensor:
        out = [op(x) for op, x in zip(self.ops, previous, strict=True)]
        out = [None if o is None else 2 * o for o in out]
        joined, mask = self.input_switch(out)
        assert mask.dtype == torch.bool and int(mask.sum()) in (2, len(previous))
        return joined  # type: ignore[no-any-return]


class NniCell(MutableScope):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.first = NniNode("n2", 2)
        self.second = NniNode("n3", 3)
        self.post = LayerChoice([nn.Identity(), nn.Tanh()])

    def forward(self, x: Tensor) -> Tensor:
        states = [x, x]
        states.append(self.first(states))
        out: Tensor = self.post(self.second(states))
        return out


@pytest.mark.parametrize("name", ["darts", "random"])
def test_a_model_annotated_for_nni_1_is_searched(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(NniCell("cell"), NniCell("cell"))
    mutator = mutators.get(name)(model, seed=0)
    x = torch.randn(3, 2)
    for _ in range(4):
        mutator.reset()
        assert model(x).shape == (3, 2)
    architecture = mutator.export()

    assert "cell/post" in architecture and len(architecture["n3_switch"]) == 2  # type: ignore
    mutator.use(architecture)
    expected = model(x)
    assert torch.equal(apply_fixed_architecture(model, architecture.to_json())(x), expected)


def test_a_model_of_another_space_is_refused_by_key() -> None:
    _, mutator = make()
    other = Net()
    del other.b[0]
    with pytest.raises(OptionError, match="another search space; it differs at 'b'"):
        mutator.bind(other)


def test_logits_saved_in_another_order_are_refused() -> None:
    class Turned(Net):
        def __init__(self) -> None:
            super().__init__()
            self.b = LayerChoice([Scale(0.5), Scale(4.0)])

    _, mutator = make()
    turned = DartsMutator(Turned()).double()
    assert turned.rows == ["a", "pick", "b"]
    with pytest.raises(CheckpointError, match="in another order"):
        turned.load_state_dict(mutator.state_dict())
