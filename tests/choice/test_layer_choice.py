"""LayerChoice: what NNI users know, and the errors that name what is wrong."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import nn

from nas_plugin import DartsMutator, Decision, LayerChoice, RandomMutator
from nas_plugin.choice import Binding
from nas_plugin.errors import ChoiceError


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


def decided(choice: LayerChoice, decision: Decision) -> LayerChoice:
    binding = Binding("test")
    binding.attach(choice)
    binding.decisions = {choice.key: decision}
    return choice


X = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [("sum", 2 * 0.5 + 3 * 2.0), ("mean", (2 * 0.5 + 3 * 2.0) / 2)],
)
def test_a_mix_is_the_weighted_sum_or_mean(reduction: str, expected: float) -> None:
    choice = LayerChoice([Scale(2.0), Scale(3.0)], reduction=reduction)
    out = decided(choice, Decision(torch.tensor([0.5, 2.0]), (0, 1)))(X)

    assert torch.equal(out, expected * X)


def test_concat_and_none_join_the_chosen() -> None:
    chosen = Decision(None, (0, 1))
    joined = decided(LayerChoice([Scale(2.0), Scale(3.0)], reduction="concat"), chosen)(X)
    listed = decided(LayerChoice([Scale(2.0), Scale(3.0)], reduction="none"), chosen)(X)

    assert torch.equal(joined, torch.cat([2 * X, 3 * X], dim=1))
    assert [float(out[0, 0]) for out in listed] == [2.0, 3.0]


def test_nothing_chosen_gives_none_and_one_the_bare_tensor() -> None:
    choice = LayerChoice([Scale(2.0), Scale(3.0)])

    assert decided(choice, Decision(None, ()))(X) is None
    choice.bind(None, None)
    out = decided(choice, Decision(None, (1,)))(X)
    assert torch.equal(out, 3 * X)


def test_candidates_that_are_not_active_do_not_run() -> None:
    ran = []
    choice = LayerChoice([Scale(2.0), Scale(3.0), Scale(4.0)])
    for i, candidate in enumerate(choice):
        candidate.register_forward_hook(lambda *_, i=i: ran.append(i))

    decided(choice, Decision(torch.tensor([0.0, 1.0, 0.0]), (1,)))(X)

    assert ran == [1]


def test_the_mask_says_which_were_active() -> None:
    choice = LayerChoice([Scale(2.0), Scale(3.0)], return_mask=True)
    out, mask = decided(choice, Decision(None, (1,)))(X)

    assert torch.equal(out, 3 * X)
    assert mask.tolist() == [False, True]


def test_it_is_a_list_and_a_dict() -> None:
    a, b, c = Scale(1.0), Scale(2.0), Scale(3.0)
    choice = LayerChoice(OrderedDict(a=a, b=b, c=c))

    assert len(choice) == 3
    assert list(choice) == [a, b, c]
    assert choice[0] is a and choice["b"] is b and choice[-1] is c
    assert choice[1:] == [b, c]
    assert "a" in choice and "z" not in choice
    choice["b"] = d = Scale(4.0)
    assert choice[1] is d
    choice["e"] = Scale(5.0)
    assert choice.candidates == ("a", "b", "c", "e")
    del choice["a"], choice[0]
    assert choice.candidates == ("c", "e")
    del choice[:1]
    assert choice.candidates == ("e",)
    assert set(dict(choice.named_children())) == {"e"}


def test_lists_are_named_by_their_numbers() -> None:
    assert LayerChoice([Scale(1.0), Scale(2.0)]).candidates == ("0", "1")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LayerChoice([]), "no candidate"),
        (lambda: LayerChoice({"forward": Scale(1.0)}), "reserved"),
        (lambda: LayerChoice({"a.b": Scale(1.0)}), r"without '\.'"),
        (lambda: LayerChoice([1]), "every candidate is a torch module"),  # type: ignore
        (lambda: LayerChoice({1: Scale(1.0)}), "a candidate's name is a string"),  # type: ignore
        (lambda: LayerChoice(Scale(1.0)), "takes a list or a dict of modules"),  # type: ignore
        (lambda: LayerChoice([Scale(1.0)], key=3), "A key is a string"),  # type: ignore
        (lambda: LayerChoice([Scale(1.0)], reduction="max"), "reduction must be one of"),
        (lambda: LayerChoice([Scale(1.0)], key=""), "A key is a string"),
    ],
)
def test_wrong_declarations_are_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ChoiceError, match=message):
        make()


def test_unknown_candidates_are_named() -> None:
    choice = LayerChoice({"a": Scale(1.0)}, key="edge")
    with pytest.raises(KeyError, match="'edge' has no candidate 'z'"):
        choice["z"]
    with pytest.raises(IndexError, match="has no candidate 4"):
        choice[4]
    with pytest.raises(ChoiceError, match="without a candidate"):
        del choice["a"]


def test_running_undecided_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ChoiceError, match="'edge' ran, but nothing decides it"):
        LayerChoice([Scale(1.0)], key="edge")(X)


def test_running_before_the_first_reset_is_an_error() -> None:
    model = nn.Sequential(LayerChoice([Scale(1.0), Scale(2.0)]))
    RandomMutator(model)
    with pytest.raises(ChoiceError, match=r"mutator\.reset\(\)"):
        model(X)


def test_outputs_of_different_shapes_are_named() -> None:
    model = nn.Sequential(LayerChoice({"a": nn.Linear(3, 3), "b": nn.Linear(3, 1)}, key="edge"))
    DartsMutator(model).reset()
    with pytest.raises(ChoiceError, match=r"'edge' mixes.*'a' gives \(2, 3\), 'b' gives \(2, 1\)"):
        model(X)


def test_what_cannot_be_mixed_is_named_and_runs_as_a_single_path() -> None:
    choice = LayerChoice({"lstm": nn.LSTM(3, 3), "gru": nn.GRU(3, 3)}, key="rnn")
    mixed = decided(choice, Decision(torch.ones(2), (0, 1)))
    with pytest.raises(ChoiceError, match="'rnn' mixes tensors, but 'lstm' gives a tuple"):
        mixed(X)

    choice.binding.decisions = {"rnn": Decision(None, (1,))}
    assert choice(X)[0].shape == (2, 3)


def test_a_bound_block_cannot_be_edited() -> None:
    model = nn.Sequential(LayerChoice([Scale(1.0), Scale(2.0)]))
    mutator = DartsMutator(model)
    for edit in (lambda: model[0].__delitem__(0), lambda: model[0].__setitem__(0, Scale(1.0))):
        with pytest.raises(ChoiceError, match="DartsMutator decides it"):
            edit()

    mutator.unbind(model)
    del model[0][0]
    assert len(model[0]) == 1


def test_copies_and_pickles_are_unbound() -> None:
    model = nn.Sequential(LayerChoice([nn.Linear(3, 3), nn.Linear(3, 3)]))
    mutator = DartsMutator(model)
    mutator.reset()

    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied[0].binding is None
        with pytest.raises(ChoiceError, match="nothing decides it"):
            copied(X)
    assert model[0].binding is mutator.binding
