"""Keys: paths, scopes, sharing, wrappers, and contradictions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nas_plugin import (
    DartsMutator,
    LayerChoice,
    MutableScope,
    RandomMutator,
    Repeat,
    apply_fixed_architecture,
    search_space,
)
from nas_plugin.choice import keyed_blocks, unwrap
from nas_plugin.errors import ChoiceError
from nas_plugin.operations import Zero


def two(key: str | None = None) -> LayerChoice:
    return LayerChoice([nn.Linear(2, 2), nn.Identity()], key=key)


class Scope(MutableScope):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.inner = nn.Sequential(two(), two("named"))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out


def keys(model: nn.Module) -> list[str]:
    return [place.key for place in keyed_blocks(model)]


def test_a_key_is_the_path_from_the_root() -> None:
    model = nn.Sequential(nn.Sequential(two()), nn.ModuleDict({"edge": two()})["edge"])

    assert keys(model) == ["0/0", "1"]


def test_a_key_is_the_path_from_the_nearest_explicit_key() -> None:
    nested = LayerChoice({"a": nn.Sequential(two()), "b": nn.Identity()}, key="outer")

    assert keys(nn.Sequential(nested)) == ["outer", "outer/a/0"]


def test_scopes_of_one_key_share_decisions() -> None:
    model = nn.Sequential(Scope("cell"), Scope("cell"))

    assert keys(model) == ["cell/inner/0", "named", "cell/inner/0", "named"]
    mutator = DartsMutator(model)
    assert mutator.rows == ["cell/inner/0", "named"]


def test_wrappers_do_not_change_keys() -> None:
    model = nn.Sequential(two())
    averaged = torch.optim.swa_utils.AveragedModel(model)
    compiled = torch.compile(model, backend="eager")

    assert unwrap(averaged) is averaged.module
    assert keys(averaged) == keys(compiled) == keys(model) == ["0"]


def test_blocks_inside_a_repeat_depend_on_its_depth() -> None:
    model = nn.Sequential(Repeat(lambda _: two(), (1, 3)))
    found = {place.key: place.within for place in keyed_blocks(model)}

    assert found["0/0"] == (("0", (1, 2, 3)),)
    assert found["0/2"] == (("0", (3,)),)


def test_a_block_at_two_places_is_one() -> None:
    shared = two()

    assert keys(nn.ModuleList([nn.Sequential(shared), shared])) == ["0/0", "0/0"]


def test_a_block_under_two_names_of_one_module_is_seen_and_fixed_at_both() -> None:
    model = nn.ModuleDict({"a": (shared := two()), "b": shared})

    assert [(place.key, place.path) for place in keyed_blocks(model)] == [("a", "a"), ("a", "b")]
    apply_fixed_architecture(model, {"a": "1"})
    assert isinstance(model["a"], nn.Identity) and model["b"] is model["a"]


def test_blocks_inside_a_shared_block_depend_on_its_one_key() -> None:
    shared = LayerChoice([nn.Sequential(two()), nn.Identity()])
    model = nn.ModuleList([nn.Sequential(shared), nn.Sequential(shared)])

    assert keys(model) == ["0/0", "0/0/0/0", "0/0", "0/0/0/0"]
    assert search_space(model).size == 2 + 1
    fixed = apply_fixed_architecture(model, {"0/0": "0", "0/0/0/0": "1"})
    assert isinstance(fixed[0][0][0], nn.Identity) and fixed[1][0] is fixed[0][0]


def test_blocks_inside_a_root_that_is_a_block_depend_on_it() -> None:
    root = LayerChoice({"a": nn.Sequential(two()), "b": nn.Identity()})

    assert keys(root) == ["LayerChoice", "a/0"]
    assert search_space(root).size == 2 + 1


def test_a_scope_whose_key_equals_another_path_is_refused() -> None:
    model = nn.ModuleDict({"x": Scope("y"), "y": nn.ModuleDict({"inner": nn.Sequential(two())})})
    with pytest.raises(ChoiceError, match="same key 'y/inner/0'.*below the key 'y'.*is the path"):
        keyed_blocks(model)


def test_equal_keys_need_candidates_that_may_be_kept_alike() -> None:
    kept, never = (LayerChoice([Zero(keep=k), nn.Tanh()], key="k") for k in (True, False))
    with pytest.raises(ChoiceError, match="share the key 'k'"):
        keyed_blocks(nn.Sequential(kept, never))


def test_keys_of_a_model_inside_data_parallel_are_those_of_the_model() -> None:
    class DistributedDataParallel(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

    model = nn.Sequential(two())
    wrapped = DistributedDataParallel(model)

    assert keys(wrapped) == ["0"]
    assert apply_fixed_architecture(wrapped, {"0": "1"}) is model
    assert isinstance(wrapped.module[0], nn.Identity)


def test_an_explicit_key_that_equals_a_path_is_refused() -> None:
    with pytest.raises(ChoiceError, match="same key '0' by different ways"):
        keyed_blocks(nn.Sequential(two(), two("0")))


def test_equal_keys_need_equal_candidates() -> None:
    other = LayerChoice([nn.Identity()] * 3, key="k")
    with pytest.raises(ChoiceError, match="share the key 'k'"):
        keyed_blocks(nn.Sequential(two("k"), other))


def test_a_second_mutator_is_refused_and_the_first_is_named() -> None:
    model = nn.Sequential(two())
    first = DartsMutator(model)
    with pytest.raises(ChoiceError, match="decided by DartsMutator already"):
        RandomMutator(model)

    first.unbind(model)
    RandomMutator(model).reset()
    model(torch.ones(1, 2))


def test_another_model_of_the_same_keys_can_be_bound() -> None:
    model, twin = nn.Sequential(two()), nn.Sequential(two())
    mutator = DartsMutator(model)
    mutator.bind(twin, final=True)
    mutator.reset()

    assert mutator.final_binding.decisions["0"].mix is None
    assert mutator.binding.decisions["0"].mix is not None
    twin(torch.ones(1, 2))


def test_binding_a_model_of_another_space_is_refused() -> None:
    mutator = DartsMutator(nn.Sequential(two()))
    with pytest.raises(Exception, match="another search space"):
        mutator.bind(nn.Sequential(nn.Identity(), two()))
