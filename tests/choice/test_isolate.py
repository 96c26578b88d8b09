"""Candidates that run together, written in place and not, give the same."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nas_plugin import Decision, InputChoice, LayerChoice, Repeat
from nas_plugin.choice import Binding, Cell, fan_out, isolated
from nas_plugin.errors import ChoiceError

Relu = Callable[[], nn.Module]
MIX = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)


def in_place() -> nn.Module:
    return nn.ReLU(inplace=True)


class Spy(nn.Module):
    """Notes where its input lies in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.addresses.append(x.data_ptr())
        return 1.0 * x


class WritesData(nn.Module):
    """Writes where no version counter looks."""

    def forward(self, x: Tensor) -> Tensor:
        x.data.mul_(2.0)
        return 1.0 * x


class Sum(nn.Module):
    """Adds a list up, into its first entry."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, inputs: list[Tensor]) -> Tensor:
        first, *rest = inputs
        for other in rest:
            first = first.add_(other) if self.inplace else first + other
        return first


def decide(model: nn.Module, **decisions: Decision) -> Binding:
    binding = Binding("test")
    binding.attach(model)
    binding.decisions = decisions
    return binding


def some(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape or (4, 3), dtype=torch.float64, generator=generator)


def assert_same(make: Callable[[Relu], nn.Module], *inputs: Tensor, **decisions: Decision) -> None:
    """Outputs, gradients and inputs are those of the model whose activations write nothing."""
    results = []
    for relu in (nn.ReLU, in_place):
        torch.manual_seed(0)
        model = make(relu).double()
        decide(model, **decisions)
        for _ in range(3):  # the first run is another than the later ones
            leaves = [x.clone().requires_grad_() for x in inputs]
            read = [1.0 * leaf for leaf in leaves]
            out = model(*read)
            grads = torch.autograd.grad(
                (out**2).sum(), [*leaves, *model.parameters()], materialize_grads=True
            )
            results.append([out, *read, *grads])
    for found in results[1:]:
        for expected, value in zip(results[0], found, strict=True):
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)


def relu_at(position: int) -> Callable[[Relu], nn.Module]:
    def make(relu: Relu) -> nn.Module:
        ops: list[nn.Module] = [nn.Identity(), nn.Linear(3, 3)]
        ops.insert(position, relu())
        return LayerChoice(ops, key="a")

    return make


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_mix_does_not_depend_on_writes(position: int) -> None:
    assert_same(relu_at(position), some(), a=Decision(MIX, (0, 1, 2)))
    assert_same(relu_at(position), some(), a=Decision(None, (0, 1, 2)))


def test_watched_candidates_write_nothing() -> None:
    mix = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    assert_same(relu_at(0), some(), a=Decision(mix, (0, 1, 2), watched=(0, 2)))


def nested(relu: Relu) -> nn.Module:
    inner = LayerChoice([nn.Identity(), nn.Sequential(relu(), nn.Linear(3, 3))], key="inner")
    return LayerChoice(
        {"nested": nn.Sequential(inner, relu()), "linear": nn.Linear(3, 3)}, key="outer"
    )


@pytest.mark.parametrize("active", [(0,), (1,), (0, 1)])
def test_choices_inside_candidates_write_nothing_outside(active: tuple[int, ...]) -> None:
    outer = Decision(MIX[:2], (0, 1))
    assert_same(nested, some(), outer=outer, inner=Decision(None, active))


def test_a_nested_path_that_writes_after_one_that_does_not() -> None:
    def make(relu: Relu) -> nn.Module:
        inner = LayerChoice([nn.Linear(3, 3), relu()], key="inner")
        candidates = {"nested": nn.Sequential(inner), "linear": nn.Linear(3, 3)}
        return LayerChoice(candidates, key="outer").double()

    torch.manual_seed(0)
    plain, writing = make(nn.ReLU), make(in_place)
    writing.load_state_dict(plain.state_dict())
    outer = Decision(MIX[:2], (0, 1))
    models = {model: decide(model) for model in (plain, writing)}
    for active in (0, 1, 0, 1):
        outs = []
        for model, binding in models.items():
            binding.decisions = {"outer": outer, "inner": Decision(None, (active,))}
            outs.append(model(some()))
        assert torch.equal(*outs)


def test_what_candidates_take_may_be_a_list_or_an_input_choice() -> None:
    class Net(nn.Module):
        def __init__(self, inplace: bool) -> None:
            super().__init__()
            self.choice = LayerChoice(
                {
                    "sum": Sum(inplace),
                    "one": InputChoice(2, n_chosen=1, key="input"),
                    "again": Sum(inplace),
                },
                key="a",
            )

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            out: Tensor = self.choice([x, y])
            return out

    for chosen in (0, 1):
        assert_same(
            lambda relu: Net(relu is in_place),
            some(),
            some().flip(0),
            a=Decision(MIX, (0, 1, 2)),
            input=Decision(None, (chosen,)),
        )


def cell(relu: Relu) -> Cell:
    def edge(node: int, source: int) -> dict[str, nn.Module]:
        return {"relu": relu(), "skip": nn.Identity(), "linear": nn.Linear(3, 3)}

    make = [nn.Sequential(relu(), nn.Linear(3, 3)), relu()]
    return Cell("c", edge, n_nodes=3, n_chosen=None, preprocess=make)


@pytest.mark.parametrize("names", [(0, 0), (1, 0), (1, 2)])
def test_edges_of_a_cell_read_what_their_source_gave(names: tuple[int, int]) -> None:
    keys = [f"c_n{node}_p{source}" for node in range(2, 5) for source in range(node)]
    paths = {key: Decision(None, (names[i % 2],)) for i, key in enumerate(keys)}
    assert_same(cell, some(), some().flip(0), **paths)
    assert_same(cell, some(), some().flip(0), **dict.fromkeys(keys, Decision(MIX, (0, 1, 2))))


def test_the_fixed_cell_equals_the_path() -> None:
    from nas_plugin import apply_fixed_architecture

    def net() -> nn.ModuleList:
        torch.manual_seed(0)
        return nn.ModuleList([cell(in_place)]).double()

    keys = [f"c_n{node}_p{source}" for node in range(2, 5) for source in range(node)]
    model = net()
    decide(model, **dict.fromkeys(keys, Decision(None, (0,))))
    fixed = apply_fixed_architecture(net(), dict.fromkeys(keys, "relu"))
    x, y = some(), some().flip(0)

    assert torch.equal(fixed[0](x, y), model[0](x, y))
    assert torch.equal(x, some())


def test_what_a_cell_gives_may_be_written() -> None:
    one = Cell("c", lambda *_: {"skip": nn.Identity()}, n_nodes=1, n_inputs=1, n_chosen=None,
               output="last")  # fmt: skip
    decide(one, c_n1_p0=Decision(None, (0,)))
    x = some()
    for _ in range(2):
        out = one(x)
        out += 1.0
        assert torch.equal(x, some())


def test_listed_outputs_do_not_share_memory() -> None:
    layers = LayerChoice([nn.Identity(), nn.Identity(), nn.Flatten()], reduction="none", key="a")
    inputs = InputChoice(2, reduction="none", key="b")
    decide(layers, a=Decision(None, (0, 1, 2)))
    decide(inputs, b=Decision(None, (0, 1)))
    x = some()

    for outs in (layers(x), inputs([x, x])):
        before = outs[1].clone()
        outs[0] += 1.0
        assert all(torch.equal(out.view_as(before), before) for out in outs[1:])


@pytest.mark.parametrize("mix", [MIX, None])
def test_depths_keep_what_they_gave(mix: Tensor | None) -> None:
    def make(relu: Relu) -> nn.Module:
        return Repeat(lambda i: nn.Sequential(relu(), nn.Linear(3, 3)), (0, 2), key="d")

    assert_same(make, some(), d=Decision(mix, (0, 1, 2)))


def test_only_what_writes_is_given_a_copy_and_a_single_path_never_is() -> None:
    first, last = Spy(), Spy()
    choice = LayerChoice([first, in_place(), last], key="a").double()
    decide(choice, a=Decision(MIX, (0, 1, 2)))
    x = some()
    for _ in range(3):
        choice(x)
    assert first.addresses[1:] == last.addresses[1:] == [x.data_ptr()] * 2

    first.addresses.clear()

    choice.binding.decisions = {"a": Decision(None, (0,))}  # type: ignore[union-attr]
    choice(x)
    assert first.addresses == [x.data_ptr()]


def test_inference_tensors_have_no_version_and_still_are_kept() -> None:
    choice = LayerChoice([in_place(), nn.Identity()], key="a")
    decide(choice, a=Decision(None, (0, 1)))
    with torch.inference_mode():
        outs = [choice(x) for x in (some(), some())]
    expected = some().relu() + some()

    assert all(torch.equal(out, expected) for out in [*outs, choice(some())])


def test_writes_in_one_mode_only() -> None:
    dropout = nn.Dropout(0.5, inplace=True)
    choice = LayerChoice([dropout, nn.Identity()], reduction="none", key="a")
    decide(choice, a=Decision(None, (0, 1)))
    for _ in range(2):
        assert torch.equal(choice.eval()(some())[1], some())
        assert torch.equal(choice.train()(some())[1], some())


def test_writes_through_data_are_seen() -> None:
    choice = LayerChoice([WritesData(), nn.Identity()], key="a")
    decide(choice, a=Decision(None, (0, 1)))
    assert [torch.equal(choice(some()), 3.0 * some()) for _ in range(2)] == [True, True]


def test_a_candidate_edited_after_it_ran_is_named_and_then_right() -> None:
    choice = LayerChoice([nn.Sequential(nn.ReLU()), nn.Identity()], key="a")
    decide(choice, a=Decision(None, (0, 1)))
    expected = choice(some())
    choice[0][0] = in_place()

    with pytest.raises(ChoiceError, match="A Sequential overwrote its input"):
        choice(some())
    assert torch.equal(choice(some()), expected)


def test_a_candidate_edited_between_two_mutators_is_probed_anew() -> None:
    choice = LayerChoice([nn.Sequential(nn.ReLU()), nn.Identity()], key="a")
    binding = decide(choice, a=Decision(None, (0, 1)))
    expected = choice(some())
    binding.detach(choice)
    choice[0][0] = in_place()
    decide(choice, a=Decision(None, (0, 1)))

    assert torch.equal(choice(some()), expected)


def test_copies_and_pickles_hold_nothing_of_it() -> None:
    choice = LayerChoice([in_place(), nn.Linear(3, 3)], key="a").double()
    before, state = pickle.dumps(choice), list(choice.state_dict())
    binding = decide(choice, a=Decision(MIX[:2], (0, 1)))
    out = choice(some())

    assert pickle.dumps(choice) == before and list(choice.state_dict()) == state
    for again in (copy.deepcopy(choice), pickle.loads(before)):
        Binding("again").attach(again)
        again.binding.decisions = binding.decisions
        assert torch.equal(again(some()), out)


def test_keyword_arguments_and_tuples_are_kept() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor, pair: tuple[Tensor, dict[str, Tensor]]) -> Tensor:
            return x.add_(pair[0]).add_(pair[1]["b"].mul_(2.0))

    x, y, z = some(), some(), some()
    for _ in range(2):
        out = isolated(Pair(), x, pair=(y, {"b": z}))
        assert torch.equal(out, some() + some() + 2.0 * some())
        assert all(torch.equal(value, some()) for value in (x, y, z))


def test_plain_modules_of_a_fan_out_are_kept_apart() -> None:
    ops = [in_place(), nn.Identity(), nn.Hardtanh(inplace=True)]
    x = some()
    for _ in range(2):
        outs = fan_out(x, ops)
        assert torch.equal(outs[0], some().relu()) and torch.equal(outs[1], some())
        assert torch.equal(outs[2], some().clamp(-1, 1))


@pytest.mark.slow
def test_compiled_choices_keep_writes_apart() -> None:
    choice = LayerChoice([in_place(), nn.Identity()], key="a")
    decide(choice, a=Decision(None, (0, 1)))
    compiled = torch.compile(choice, backend="eager")
    for _ in range(2):
        x = some()
        assert torch.equal(compiled(x), some().relu() + some()) and torch.equal(x, some())
