"""InputChoice, Repeat, Cell, scopes and values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin import (
    Cell,
    DartsMutator,
    Decision,
    InputChoice,
    LayerChoice,
    MutableScope,
    Repeat,
    ValueChoice,
    build,
    fan_out,
    search_space,
)
from nas_plugin.choice import Binding
from nas_plugin.errors import ArchitectureError, ChoiceError, OptionError

A, B, C = (torch.full((2, 3), v) for v in (1.0, 10.0, 100.0))


def decided(block, decision: Decision):  # type: ignore[no-untyped-def]
    binding = Binding("test")
    binding.attach(block)
    binding.decisions = {block.key: decision}
    return block


def test_input_choice_reduces_what_is_chosen() -> None:
    chosen = Decision(None, (0, 2))
    assert torch.equal(decided(InputChoice(3), chosen)([A, B, C]), A + C)
    assert torch.equal(decided(InputChoice(3, reduction="mean"), chosen)([A, B, C]), (A + C) / 2)
    assert decided(InputChoice(3), Decision(None, ()))([A, B, C]) is None
    assert decided(InputChoice(3), Decision(None, (1,)))([A, B, C]) is B
    _, mask = decided(InputChoice(3, return_mask=True), chosen)([A, B, C])
    assert mask.tolist() == [True, False, True]


def test_input_choice_takes_dicts_by_name() -> None:
    choice = decided(InputChoice(choose_from=["a", "b"]), Decision(None, (1,)))

    assert choice({"b": B, "a": A}) is B
    with pytest.raises(ChoiceError, match=r"takes the inputs \['a', 'b'\], got \['a'\]"):
        choice({"a": A})
    with pytest.raises(ChoiceError, match="takes 2 inputs, got 3"):
        choice([A, B, C])
    # A tensor has a length too.
    with pytest.raises(ChoiceError, match="a list or a dict of 2 tensors, got a Tensor"):
        choice(A)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs n_candidates or choose_from"),
        ({"n_candidates": 0}, "at least one input"),
        ({"n_candidates": 2, "n_chosen": 3}, r"n_chosen must be in \[1, 2\]"),
        ({"n_candidates": 2, "n_chosen": 0}, r"n_chosen must be in \[1, 2\]"),
        ({"n_candidates": 3, "choose_from": ["a", "b"]}, "choose_from has 2 entries"),
        ({"choose_from": ["a", "a"]}, "no name may occur twice"),
        ({"choose_from": "ab"}, "choose_from is a list of keys"),
        ({"choose_from": [1, 2]}, "choose_from is a list of keys"),
        ({"n_candidates": "3"}, "n_candidates is a whole number"),
        ({"n_candidates": 3, "n_chosen": 1.5}, "n_chosen is a whole number"),
    ],
)
def test_wrong_input_choices_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ChoiceError, match=message):
        InputChoice(**options)  # type: ignore[arg-type]


def test_inputs_without_a_key_are_named_by_index() -> None:
    assert InputChoice(choose_from=["a", InputChoice.NO_KEY]).candidates == (0, 1)
    assert InputChoice(choose_from=["a", "b"]).candidates == ("a", "b")


class Plus(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


def test_repeat_runs_the_first_blocks_or_mixes_depths() -> None:
    def repeat() -> Repeat:
        return Repeat(lambda _: Plus(), (0, 3), key="depth")

    assert torch.equal(decided(repeat(), Decision(None, (2,)))(A), A + 2)
    mixed = decided(repeat(), Decision(torch.tensor([0.1, 0.2, 0.3, 0.4]), (0, 1, 2, 3)))(A)
    assert torch.allclose(mixed, A + 0.2 * 1 + 0.3 * 2 + 0.4 * 3)
    with pytest.raises(ChoiceError, match="0 <= low < high"):
        Repeat(lambda _: Plus(), (3, 3))


@pytest.mark.parametrize("depth", [3, (1, 2, 3), (1.0, 3), (-1, 2)])
def test_wrong_depths_are_refused(depth: Any) -> None:
    with pytest.raises(ChoiceError, match="Repeat 'd': depth"):
        Repeat(lambda _: Plus(), depth, key="d")


def test_a_repeat_of_something_else_than_modules_is_refused() -> None:
    with pytest.raises(ChoiceError, match=r"block_factory\(0\) must give a torch module"):
        Repeat(lambda _: None, (1, 2))  # type: ignore[arg-type, return-value]


def test_repeat_builds_its_blocks_by_position() -> None:
    seen: list[int] = []
    Repeat(lambda i: seen.append(i) or Plus(), (1, 4))  # type: ignore[func-returns-value]

    assert seen == [0, 1, 2, 3]


def test_a_cell_sums_what_its_switches_choose() -> None:
    class Scale(nn.Module):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by

        def forward(self, x: Tensor) -> Tensor:
            return self.by * x

    net = nn.ModuleList([Cell("c", lambda n, s: {"two": Scale(2), "five": Scale(5)}, n_nodes=2)])
    mutator = DartsMutator(net)
    mutator.use({
        "c_n2_p0": "two", "c_n2_p1": "five", "c_n2_switch": ["c_n2_p0", "c_n2_p1"],
        "c_n3_p0": "five", "c_n3_p2": "two", "c_n3_switch": ["c_n3_p0", "c_n3_p2"],
    })  # fmt: skip
    x, y = torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 3.0)

    node2 = 2 * 1 + 5 * 3
    node3 = 5 * 1 + 2 * node2
    assert net[0](x, y).flatten().tolist() == [node2, node3]


def test_a_cell_calls_fan_out_once_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.ModuleList([Cell("c", lambda n, s: {"a": nn.Identity(), "b": Plus()}, n_nodes=3)])
    mutator = DartsMutator(net)
    groups: list[int] = []

    def dispatch(x: Tensor, blocks: list[nn.Module]) -> list[Tensor]:
        groups.append(len(blocks))
        return [block(x) for block in blocks]

    mutator.reset()
    plain = net[0](A[:, :, None, None], A[:, :, None, None])
    mutator.binding.dispatch = dispatch  # type: ignore[assignment]
    grouped = net[0](A[:, :, None, None], A[:, :, None, None])

    assert groups == [3, 3, 2, 1]
    assert torch.equal(plain, grouped)


@pytest.mark.parametrize(
    "options", [{"n_nodes": 0}, {"n_nodes": 1, "n_chosen": 3}, {"n_nodes": 1, "output": "first"}]
)
def test_wrong_cells_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ChoiceError, match="Cell 'c'"):
        Cell("c", lambda n, s: {"a": Plus()}, **options)


def test_a_cell_names_its_inputs() -> None:
    with pytest.raises(ChoiceError, match="takes 2 inputs, got 1"):
        Cell("c", lambda n, s: {"a": Plus()}, n_nodes=1)(A)
    with pytest.raises(ChoiceError, match="preprocess has 1"):
        Cell("c", lambda n, s: {"a": Plus()}, n_nodes=1, preprocess=[Plus()])


def test_fan_out_of_plain_modules_calls_them() -> None:
    assert [float(o[0, 0]) for o in fan_out(A, [Plus(), nn.Identity()])] == [2.0, 1.0]


def test_a_scope_needs_a_key() -> None:
    with pytest.raises(ChoiceError, match="MutableScope needs a key"):
        MutableScope(None)  # type: ignore[arg-type]


def make_wide() -> nn.Module:
    width = ValueChoice([4, 8, 16], key="width")
    bias = ValueChoice([True, False], key="bias")
    return nn.Sequential(
        nn.Linear(3, width, bias=bias), LayerChoice([nn.ReLU(), nn.Tanh()], key="act")
    )


def test_values_are_the_first_or_those_of_the_architecture() -> None:
    supernet = build(make_wide)
    fixed = build(make_wide, {"width": 16, "bias": False, "act": "1"})

    assert supernet[0].out_features == 4
    assert fixed[0].out_features == 16 and fixed[0].bias is None
    assert isinstance(fixed[1], nn.Tanh)
    assert search_space(make_wide).size == 3 * 2 * 2
    assert search_space(supernet) == search_space(make_wide)


def test_wrong_values_are_named() -> None:
    with pytest.raises(ArchitectureError, match=r"'width' cannot be 5. Allowed: \[4, 8, 16\]"):
        build(make_wide, {"width": 5, "bias": True, "act": "0"})
    with pytest.raises(ArchitectureError, match="'bias' cannot be 1"):
        build(make_wide, {"width": 4, "bias": 1, "act": "0"})
    with pytest.raises(ArchitectureError, match="lacks the key 'width'"):
        build(make_wide, {"bias": True, "act": "0"})
    with pytest.raises(ChoiceError, match="outside build"):
        make_wide()
    with pytest.raises(ChoiceError, match="values that differ"):
        build(lambda: nn.Linear(ValueChoice([], key="k"), 1))
    with pytest.raises(ChoiceError, match="share the key 'k'"):
        build(lambda: nn.Linear(ValueChoice([1], key="k"), ValueChoice([2], key="k")))


@pytest.mark.parametrize("values", [5, "ab", [[1]], [float("nan")], [None]])
def test_values_that_json_cannot_hold_are_refused(values: Any) -> None:
    with pytest.raises(ChoiceError, match="a list of strings, finite numbers and booleans"):
        build(lambda: nn.Linear(ValueChoice(values, key="k"), 1))


def test_one_shot_mutators_refuse_values_by_name() -> None:
    with pytest.raises(OptionError, match="cannot search the ValueChoice 'width'"):
        DartsMutator(build(make_wide))
