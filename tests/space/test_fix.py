"""Fixing an architecture leaves a plain module that computes what the supernet computed."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from nas_plugin import (
    InputChoice,
    LayerChoice,
    RandomMutator,
    Repeat,
    ValueChoice,
    apply_fixed_architecture,
    build,
    search_space,
)
from nas_plugin.choice import keyed_blocks
from nas_plugin.contracts.mutator import EveryBlock
from nas_plugin.errors import ArchitectureError, FileError, OptionError, SpaceError

X = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("seed", range(8))
def test_the_plain_model_computes_what_the_supernet_did(seed: int) -> None:
    torch.manual_seed(seed)
    model = EveryBlock()
    mutator = RandomMutator(model, seed=seed)
    architecture = mutator.export()
    mutator.use(architecture)
    expected = model(X)
    before = sum(p.numel() for p in model.parameters())

    plain = apply_fixed_architecture(model, architecture)

    assert plain is model
    assert torch.equal(plain(X), expected)
    assert not keyed_blocks(plain)
    assert sum(p.numel() for p in plain.parameters()) < before


def test_a_state_dict_loads_into_a_model_that_was_fixed_alike() -> None:
    first, second = EveryBlock(), EveryBlock()
    architecture = search_space(first).first()
    apply_fixed_architecture(first, architecture)
    apply_fixed_architecture(second, architecture)

    second.load_state_dict(first.state_dict())

    assert torch.equal(first(X), second(X))


def test_weights_are_kept_or_initialised_anew() -> None:
    model = nn.Sequential(LayerChoice({"a": nn.Linear(3, 3), "b": nn.Identity()}, key="k"))
    weight = model[0]["a"].weight.detach().clone()

    kept = apply_fixed_architecture(copy.deepcopy(model), {"k": "a"})
    anew = apply_fixed_architecture(copy.deepcopy(model), {"k": "a"}, keep_weights=False)

    assert torch.equal(kept[0].weight, weight)
    assert not torch.equal(anew[0].weight, weight)


def test_a_model_that_is_a_block_itself_becomes_its_candidate() -> None:
    linear = nn.Linear(2, 2)
    assert apply_fixed_architecture(LayerChoice({"a": linear}, key="k"), {"k": "a"}) is linear


def test_masks_and_lists_stay_what_they_were() -> None:
    model = nn.ModuleDict(
        {
            "masked": LayerChoice([nn.Identity(), nn.ReLU()], return_mask=True, key="m"),
            "listed": LayerChoice([nn.Identity()], reduction="none", key="l"),
            "inputs": InputChoice(3, n_chosen=2, reduction="concat", return_mask=True, key="i"),
            "deep": Repeat(lambda _: nn.Linear(2, 2), (0, 2), key="r"),
        }
    )
    apply_fixed_architecture(model, {"m": "1", "l": "0", "i": [0, 2], "r": 0})
    x = torch.tensor([[-1.0, 2.0]])

    out, mask = model["masked"](x)
    assert out.tolist() == [[0.0, 2.0]] and mask.tolist() == [False, True]
    assert model["listed"](x)[0] is x
    joined, mask = model["inputs"]([x, None, x])
    assert joined.shape == (1, 4) and mask.tolist() == [True, False, True]
    assert model["deep"](x) is x
    assert not list(model.parameters())


def test_a_wrong_architecture_changes_nothing(tmp_path: Path) -> None:
    model = nn.Sequential(LayerChoice([nn.Linear(2, 2), nn.Identity()]))
    file = tmp_path / "arc.json"
    for content, error, message in [
        ('{"0": "z"}', ArchitectureError, "arc.json: Choice '0' cannot be 'z'"),
        ("[1]", ArchitectureError, "not an architecture file"),
        ('{"0": "0", "0": "1"}', FileError, "'0'.* twice"),
        ('{"0": NaN}', FileError, "NaN"),
        ("{", FileError, "not JSON"),
        ("[" * 100 + "]" * 100, FileError, "nested .*deep"),
    ]:
        file.write_text(content)
        with pytest.raises(error, match=message):
            apply_fixed_architecture(model, file)
    with pytest.raises(FileError, match="There is no file"):
        apply_fixed_architecture(model, tmp_path / "none.json")
    assert isinstance(model[0], LayerChoice)


def test_a_model_annotated_for_nni_1_runs_and_its_files_load() -> None:
    class Node(nn.Module):
        def __init__(self, prefix: str, n: int) -> None:
            super().__init__()
            keys = [f"{prefix}_p{i}" for i in range(n)]
            self.ops = nn.ModuleList(
                LayerChoice([nn.Linear(2, 2), nn.Identity()], key=key) for key in keys
            )
            self.input_switch = InputChoice(choose_from=keys, n_chosen=2, key=f"{prefix}_switch")

        def forward(self, prev):  # type: ignore[no-untyped-def]
            return self.input_switch([op(x) for op, x in zip(self.ops, prev, strict=True)])

    model = Node("normal_n2", 3)
    exported = {"normal_n2_p0": "1", "normal_n2_p1": [], "normal_n2_p2": "0",
                "normal_n2_switch": ["normal_n2_p0", "normal_n2_p2"]}  # fmt: skip
    x = [torch.randn(1, 2) for _ in range(3)]
    linear = model.ops[2][0]

    apply_fixed_architecture(model, exported)

    assert torch.equal(model(x), x[0] + linear(x[2]))


def test_weights_that_cannot_be_drawn_anew_are_kept_or_refused() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

    attention = nn.MultiheadAttention(4, 2)
    model = nn.ModuleList([LayerChoice({"a": attention, "b": nn.Identity()}, key="k")])
    before = attention.in_proj_weight.detach().clone()
    apply_fixed_architecture(model, {"k": "a"}, keep_weights=False)
    assert not torch.equal(attention.in_proj_weight, before)

    model = nn.ModuleList([LayerChoice({"a": Own(), "b": nn.Identity()}, key="k")])
    with pytest.raises(OptionError, match=r"'0.a' \(Own\) has weights, but no reset_parameters"):
        apply_fixed_architecture(model, {"k": "a"}, keep_weights=False)
    assert isinstance(model[0], LayerChoice)


def test_a_model_built_with_other_values_is_refused() -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(2, ValueChoice([3, 5], key="width")))

    with pytest.raises(ArchitectureError, match="built with 3 .*'width'.* says 5.*use build"):
        apply_fixed_architecture(build(net), {"width": 5})
    assert apply_fixed_architecture(build(net), {"width": 3})[0].out_features == 3
    assert build(net, {"width": {"_value": 5, "_idx": 1}})[0].out_features == 5


def test_a_model_without_choices_is_refused() -> None:
    model = nn.Sequential(LayerChoice([nn.Linear(2, 2), nn.Identity()]))
    apply_fixed_architecture(model, {"0": "0"})
    with pytest.raises(SpaceError, match=r"no choice block.*new instance .*annotate"):
        apply_fixed_architecture(model, {"0": "0"})


def test_a_counter_file_of_nni_fixes_a_model_by_construction_order(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            late = LayerChoice([nn.Tanh(), nn.Identity()])
            self.pick = InputChoice(2, n_chosen=1)
            self.early = LayerChoice([nn.ReLU(), nn.Sigmoid(), nn.Identity()])
            self.late = late

    file = tmp_path / "nni.json"
    file.write_text('{"LayerChoice1": [false, true], "InputChoice2": [true, false], '
                    '"LayerChoice3": [false, true, false]}')  # fmt: skip
    net = apply_fixed_architecture(Net(), file)

    assert isinstance(net.late, nn.Identity) and isinstance(net.early, nn.Sigmoid)
    assert net.pick([X, None]) is X
