"""NNI's JSON for search spaces and parameters, written and read.

Two forms are written. ``flat`` has one plain ``choice`` a key, so that every tuner of NNI can
search it and the portal's axes are legible; ``nni`` is the ``layer_choice`` and ``input_choice``
of NNI 1.x. Both carry under ``_choice`` what NNI has no word for (conditions, candidates that
may not be kept), which its own tuners ignore and `from_nni` reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, cast

from nas_plugin.errors import ArchitectureError, OptionError, SpaceError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Choice, ChoiceKind, Scalar, Value
from nas_plugin.space.search_space import SearchSpace

SpaceForm = Literal["flat", "nni"]
FORMS: tuple[SpaceForm, ...] = ("flat", "nni")

#: Input choices with more values than this have no flat form.
MAX_VALUES = 256

#: The key under which a proposal's fidelity travels beside the choices.
FIDELITY = "_fidelity"

#: The key that marks the parameters of a manager that may show them beside another trial.
ROW = "_row"
UNSURE = "maybe of another trial: nas-plugin experiment check"

#: What stands beside the choices and is none.
BESIDE = frozenset({FIDELITY, ROW})

_NOTHING = "()"
_SEPARATOR = "+"


def to_nni(space: SearchSpace, form: SpaceForm = "flat") -> dict[str, Any]:
    """Returns the JSON of ``searchSpaceFile``.

    Raises:
        OptionError: If `form` is unknown.
        SpaceError: If an input choice has too many values for the flat form.
    """
    if form not in FORMS:
        raise OptionError(f"The form must be one of {', '.join(FORMS)}, got '{form}'.")
    return {key: _spec(choice, form) for key, choice in space.items()}


def from_nni(data: Mapping[str, Any]) -> SearchSpace:
    """Returns the space of an NNI search-space file, of either form.

    Raises:
        SpaceError: If an entry is not a choice.
    """
    if not isinstance(data, Mapping):
        raise SpaceError(
            "A search space must be a JSON object from keys to {'_type', '_value'}, "
            f"got {type(data).__name__}."
        )
    return SearchSpace(_choice(key, spec) for key, spec in data.items())


def to_parameters(architecture: Architecture, fidelity: float | None = None) -> dict[str, Scalar]:
    """Returns flat NNI parameters: one scalar a key, so that the portal can draw them."""
    parameters = {key: label(value) for key, value in architecture.to_json().items()}
    return parameters if fidelity is None else {**parameters, FIDELITY: fidelity}


def from_parameters(parameters: Mapping[str, Any], space: SearchSpace) -> Architecture:
    """Returns the architecture that a tuner proposed, in NNI's or in the flat spelling.

    Raises:
        ArchitectureError: If it does not fit the space.
    """
    if not isinstance(parameters, Mapping):
        raise ArchitectureError(
            f"The tuner's parameters must be an object from keys to choices, got {parameters!r}."
        )
    spelled = {
        key: _unlabel(key, value) if key in space and space[key].kind == "input" else value
        for key, value in parameters.items()
        if key not in BESIDE
    }
    return space.architecture(spelled)


def label(value: Value | list[Scalar]) -> Scalar:
    """Spells a value as one scalar: chosen inputs are joined by ``+``."""
    if not isinstance(value, (tuple, list)):
        return value
    if not value:
        return _NOTHING
    plain = all(isinstance(v, str) and v and v[0] not in "([" for v in value)
    if plain and not any(_SEPARATOR in str(v) for v in value):
        return _SEPARATOR.join(str(v) for v in value)
    return json.dumps(list(value))


def _unlabel(key: str, spelled: Any) -> Any:
    if not isinstance(spelled, str):
        return spelled
    if spelled == _NOTHING:
        return []
    if spelled.startswith("["):
        try:
            return json.loads(spelled)
        except ValueError as error:
            raise ArchitectureError(f"Choice '{key}': {spelled!r} is no list of inputs.") from error
    return spelled.split(_SEPARATOR)


def _spec(choice: Choice, form: SpaceForm) -> dict[str, Any]:
    extra = choice.to_json()
    del extra["key"]
    if form == "nni" and choice.kind == "layer":
        return {"_type": "layer_choice", "_value": list(choice.candidates), "_choice": extra}
    if form == "nni" and choice.kind == "input":
        value = {"candidates": list(choice.candidates), "n_chosen": choice.n_chosen}
        return {"_type": "input_choice", "_value": value, "_choice": extra}
    if choice.count() > MAX_VALUES:
        raise SpaceError(
            f"Choice '{choice.key}' has {choice.count()} values; the flat form lists them all and "
            f"takes at most {MAX_VALUES}. Use the form 'nni', which NasTuner reads."
        )
    return {"_type": "choice", "_value": [label(v) for v in choice.values()], "_choice": extra}


def _choice(key: str, spec: Any) -> Choice:
    if not isinstance(spec, Mapping) or "_type" not in spec or "_value" not in spec:
        raise SpaceError(
            f"Search space, key '{key}': expected an object with '_type' and '_value', "
            f"got {spec!r}."
        )
    if "_choice" in spec:
        if not isinstance(spec["_choice"], Mapping):
            raise SpaceError(f"Search space, key '{key}': '_choice' must be an object.")
        return Choice.from_json({**spec["_choice"], "key": key})
    kinds: dict[str, ChoiceKind] = {
        "layer_choice": "layer",
        "input_choice": "input",
        "choice": "value",
    }
    kind = kinds.get(str(spec["_type"]))
    if kind is None:
        raise SpaceError(
            f"Search space, key '{key}': '_type' is '{spec['_type']}', which an architecture "
            f"search cannot sample. Allowed: {', '.join(kinds)}."
        )
    value = spec["_value"]
    n_chosen: Any = 1
    if kind == "input" and isinstance(value, Mapping):
        n_chosen = value.get("n_chosen")
        names = value.get("candidates")
        # NNI 1.x writes unnamed candidates as empty strings; they are known by their index.
        unnamed = isinstance(names, list) and all(name == "" for name in names)
        value = list(range(len(cast(list[Any], names)))) if unnamed else names
    if not isinstance(value, list):
        raise SpaceError(f"Search space, key '{key}': '_value' must be a list, got {value!r}.")
    return Choice.from_json({"key": key, "kind": kind, "candidates": value, "n_chosen": n_chosen})
