"""The arguments of classes: what they are, what a typo is told, which other names there are."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from typing_extensions import TypedDict, Unpack, get_type_hints

from nas_plugin.errors import OptionError
from nas_plugin.mutators import DartsMutator, mutators
from nas_plugin.parameters import Spelled, parameters_of
from nas_plugin.strategies import strategies
from nas_plugin.trainers import (
    ArchTrainer,
    BilevelTrainer,
    DartsTrainer,
    EnasTrainer,
    ProxylessNasTrainer,
    RandomNasTrainer,
    RetrainTrainer,
    SingleLevelTrainer,
    SinglePathTrainer,
    SPOSSupernetTrainer,
    Trainer,
)
from nas_plugin.trainers.nni_names import NNI_NAMES
from nas_plugin.trainers.options import (
    ArchOptions,
    BilevelOptions,
    SinglePathOptions,
    TrainerOptions,
)
from nas_plugin.trainers.search_trainer import SearchTrainer

TRAINERS = (
    DartsTrainer, EnasTrainer, ProxylessNasTrainer, RandomNasTrainer, RetrainTrainer,
    SPOSSupernetTrainer, SinglePathTrainer, BilevelTrainer, ArchTrainer, SingleLevelTrainer,
)  # fmt: skip


class Options(TypedDict, total=False):
    size: int
    colour: str


class Base(metaclass=Spelled):
    """A base.

    Args:
        place: Where it is:
            here or there.
        size: How large
            it is.
        colour: Which one.
    """

    argument_aliases = {"color": "colour", "hue": "colour"}

    def __init__(self, place: str, *, size: int = 3, colour: str = "red", weight: float = 1.0):
        self.given = (place, size, colour, weight)


class Closed(Base):
    """Hands on what `Options` names.

    Args:
        shape: A form.
        size: Its own words.

    Raises:
        OptionError: Never.
    """

    def __init__(self, place: str, *, shape: str = "round", **options: Unpack[Options]) -> None:
        super().__init__(place, **options)
        self.shape = shape


class Open(Closed):
    """Hands on everything."""

    def __init__(self, *args: Any, extra: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


def test_arguments_are_followed_to_the_class_that_spells_them_out() -> None:
    found = parameters_of(Closed)

    assert list(found) == ["place", "shape", "size", "colour"]
    assert [p.type for p in found.values()] == [str, str, int, str]
    assert [p.default for p in found.values()] == [None, "round", 3, "red"]
    assert [p.required for p in found.values()] == [True, False, False, False]
    assert [p.doc for p in found.values()] == [
        "Where it is: here or there.", "A form.", "Its own words.", "Which one.",
    ]  # fmt: skip
    assert set(parameters_of(Open)) == {*found, "extra"}


def test_functions_have_arguments_too() -> None:
    def make(layers: int, *, width: int = 8) -> None:
        """Makes it.

        Args:
            layers: How deep.
            width: How wide.
        """

    assert {n: (p.type, p.doc) for n, p in parameters_of(make).items()} == {
        "layers": (int, "How deep."),
        "width": (int, "How wide."),
    }


@pytest.mark.parametrize("cls", [Closed, Open])
def test_a_typo_names_the_class_the_nearest_and_all(cls: type[Base]) -> None:
    with pytest.raises(OptionError) as error:
        cls("here", colur="blue")  # type: ignore[call-arg]

    text = str(error.value)
    assert text.startswith(f"{cls.__name__} has no argument 'colur'. Did you mean 'colour'? ")
    assert all(name in text for name in parameters_of(cls))
    with pytest.raises(OptionError, match="no argument 'weight'"):
        cls("here", weight=2.0)  # type: ignore[call-arg]  # Closed does not hand it on


def test_another_name_means_the_argument_and_not_both() -> None:
    assert Open("here", color="blue").given == ("here", 3, "blue", 1.0)
    for names in ({"color": 1, "colour": 2}, {"color": 1, "hue": 2}):
        with pytest.raises(OptionError, match="two names of one argument. Give colour"):
            Open("here", **names)


@pytest.mark.parametrize("alias", NNI_NAMES)
def test_names_of_nni_mean_arguments_of_some_trainer(alias: str) -> None:
    own = NNI_NAMES[alias]
    takers = [cls for cls in TRAINERS if own in parameters_of(cls)]

    assert takers and all(alias not in parameters_of(cls) for cls in TRAINERS)


def test_a_learning_rate_by_its_name_in_nni_is_used() -> None:
    import torch
    from torch import nn

    from nas_plugin import LayerChoice, accuracy
    from nas_plugin.data import ArrayDataset

    data = ArrayDataset(torch.randn(16, 2), torch.arange(16) % 2)
    trainer = DartsTrainer(
        lambda: nn.Sequential(LayerChoice([nn.Linear(2, 2), nn.Identity()])),
        nn.functional.cross_entropy, accuracy, lambda p: torch.optim.SGD(p, lr=0.1), 1, data, data,
        batch_size=8, device="cpu", arc_learning_rate=0.25,  # type: ignore[call-arg]
    )  # fmt: skip

    assert trainer.arch_optimizer.param_groups[0]["lr"] == 0.25
    held = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in trainer.model.parameters()}


def own_options(cls: type) -> set[str]:
    """The keyword-only arguments that a class itself spells out."""
    entries = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    return {p.name for p in entries if p.kind is p.KEYWORD_ONLY}


def test_the_named_options_are_those_of_the_signatures() -> None:
    def hints(cls: Any) -> set[str]:
        return set(get_type_hints(cls))

    search = own_options(SearchTrainer) - {"mutator"}
    assert hints(TrainerOptions) == own_options(Trainer)
    arch = own_options(ArchTrainer) - {"mutator"}
    assert hints(ArchOptions) == own_options(Trainer) | search | arch
    bilevel = own_options(BilevelTrainer) - {"mutator"}
    assert hints(BilevelOptions) == own_options(Trainer) | search | arch | bilevel
    single = own_options(SinglePathTrainer) - {"mutator"}
    assert hints(SinglePathOptions) == own_options(Trainer) | search | single
    for cls, options in ((ArchTrainer, ArchOptions), (SinglePathTrainer, SinglePathOptions)):
        known = parameters_of(cls)
        assert {n: t for n, t in get_type_hints(options).items()} == {
            n: known[n].type for n in get_type_hints(options)
        }


@pytest.mark.parametrize(
    "cls",
    [*TRAINERS, *map(mutators.get, mutators), *map(strategies.get, strategies)],
    ids=lambda cls: cls.__name__,
)
def test_every_argument_is_described(cls: type) -> None:
    found = parameters_of(cls)

    assert found and not [p.name for p in found.values() if not p.doc]
    assert not [p.name for p in found.values() if isinstance(p.type, str) and p.name != "model"]


def test_typos_of_mutators_and_strategies_are_named() -> None:
    with pytest.raises(OptionError, match="DartsMutator has no argument 'sed'.*'seed'"):
        DartsMutator(None, sed=3)  # type: ignore
    with pytest.raises(OptionError, match="RegularizedEvolution has no argument 'populaton'"):
        strategies.get("regularized_evolution")(None, populaton=3)  # type: ignore
