"""Annotating an existing model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nas_plugin import (
    DartsMutator,
    LayerChoice,
    MutableScope,
    RetrainTrainer,
    Rule,
    annotate,
    apply_fixed_architecture,
    search_space,
)
from nas_plugin.errors import ChoiceError, NasError
from nas_plugin.operations import conv_alternatives


def make() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
    )


X = torch.arange(50.0).reshape(2, 1, 5, 5)


def test_the_original_comes_first_and_computes_what_it_did() -> None:
    model = make()
    expected = model(X)
    keys = annotate(model, Rule("1.1", conv_alternatives))

    assert keys == ["1/1"]
    assert search_space(model)["1/1"].candidates[0] == "original"
    fixed = apply_fixed_architecture(model, {"1/1": "original"})
    assert torch.equal(fixed(X), expected)
    assert not hasattr(fixed[1][1], "names")


def test_predicates_and_several_rules_work_and_the_first_decides() -> None:
    model = make()
    rules = [
        Rule("0", lambda conv: {"same": nn.Conv2d(1, 4, 1)}),
        Rule(lambda path, m: isinstance(m, nn.Conv2d), conv_alternatives),
    ]

    assert annotate(model, rules) == ["0", "1/1"]
    assert search_space(model)["0"].candidates == ("original", "same")
    assert "sepconv5x5" in search_space(model)["1/1"].candidates


def test_a_rule_may_give_a_list() -> None:
    model = make()
    annotate(model, Rule("0", lambda conv: [nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 5, padding=2)]))

    assert search_space(model)["0"].candidates == ("original", "1", "2")
    assert apply_fixed_architecture(model, {"0": "2"})[0].kernel_size == (5, 5)
    for wrong in (nn.Conv2d(1, 4, 1), [3], {"a": None}):
        model = make()
        with pytest.raises(ChoiceError, match="rule for '0' must give a dict from names to mod"):
            annotate(model, Rule("0", lambda conv, wrong=wrong: wrong))  # type: ignore[misc]
        assert isinstance(model[0], nn.Conv2d)


@pytest.mark.parametrize(
    "use",
    [
        search_space,
        DartsMutator,
        lambda model: apply_fixed_architecture(model, {"0": "same"}),
        lambda model: annotate(model, Rule("0", conv_alternatives)),
        lambda model: RetrainTrainer(model, None, None, None, 1, None, None),
    ],
)
def test_the_keys_in_place_of_the_model_are_told_apart(use: Any) -> None:
    keys = annotate(make(), Rule("0", conv_alternatives))
    with pytest.raises(NasError, match="annotate changes the model in place and returns the keys"):
        use(keys)


def test_every_alternative_keeps_the_shape() -> None:
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False)
    x = torch.randn(2, 4, 8, 8)

    for name, other in conv_alternatives(conv).items():
        assert other(x).shape == conv(x).shape, name


def test_a_shared_layer_becomes_one_choice() -> None:
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    keys = annotate(
        model, Rule(lambda _, m: isinstance(m, nn.Linear), lambda _: {"id": nn.Identity()})
    )

    assert keys == ["0"]
    assert model[0] is model[2]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule("nowhere.*", conv_alternatives), "matches no layer"),
        (Rule("*", conv_alternatives), "matches the model itself"),
        (Rule("1*", lambda m: {"id": nn.Identity()}), "'1' and '1.0' inside it"),
        (Rule("0", lambda m: {"original": m}), "hold the name 'original'"),
        (Rule("0", lambda m: {}), "gave no candidate"),
    ],
)
def test_rules_that_make_no_sense_are_refused_and_change_nothing(rule: Rule, message: str) -> None:
    model = make()
    with pytest.raises(ChoiceError, match=message):
        annotate(model, rule)

    model(X)


def test_a_supernet_of_originals_computes_what_the_model_did_bit_for_bit() -> None:
    model = make().train()
    expected = model(X)
    keys = annotate(model, Rule(lambda _, m: isinstance(m, nn.Conv2d), conv_alternatives))
    mutator = DartsMutator(model)
    mutator.use(dict.fromkeys(keys, "original"))

    assert torch.equal(model(X), expected)


def test_a_rule_with_a_key_makes_one_decision() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(3)))
    rule = Rule("[01]", lambda _: {"none": nn.Identity()}, key="both")

    assert annotate(model, rule) == ["both"]
    assert search_space(model).size == 2
    assert isinstance(model[2], nn.Linear)


def test_keys_below_a_scope_start_with_its_key() -> None:
    scope = MutableScope("cell")
    scope.add_module("conv", nn.Conv2d(1, 1, 3, padding=1))

    assert annotate(nn.Sequential(scope), Rule("0.conv", conv_alternatives)) == ["cell/conv"]


def test_a_model_with_choices_can_be_annotated_unless_it_is_decided() -> None:
    model = nn.Sequential(LayerChoice([nn.Linear(2, 2), nn.Identity()]), nn.Linear(2, 2))
    rule = Rule("1", lambda _: {"none": nn.Identity()})
    mutator = DartsMutator(model)
    with pytest.raises(ChoiceError, match="DartsMutator decides it"):
        annotate(model, rule)

    mutator.unbind(model)
    assert annotate(model, rule) == ["1"]
    assert list(search_space(model)) == ["0", "1"]


@pytest.mark.parametrize("rules", [[], "0", [None]])
def test_rules_that_are_none_are_refused(rules: Any) -> None:
    with pytest.raises(ChoiceError, match="takes a Rule or a list of them"):
        annotate(make(), rules)


def test_a_key_that_is_taken_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(LayerChoice([nn.ReLU(), nn.Tanh()], key="k"), linear := nn.Linear(2, 2))
    with pytest.raises(ChoiceError, match="share the key 'k'"):
        annotate(model, Rule("1", lambda _: {"none": nn.Identity()}, key="k"))

    assert model[1] is linear
