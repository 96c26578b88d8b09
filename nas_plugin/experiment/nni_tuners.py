"""NNI's own tuners as proposers: the same journal, retries and attribution as ours.

A tuner of NNI is told of a trial by the manager, and dies of what it did not expect: a trial that
was killed, a result that comes twice. Here it hears of each of its proposals exactly once, when all
attempts are over, by the events of the journal; a resumed experiment asks it the same questions
again and compares the answers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from nas_plugin.errors import ArchitectureError, OptionError, SpaceError
from nas_plugin.experiment.space_format import from_parameters, to_nni
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies import Proposal

#: How a tuner of NNI is named where a strategy is asked for: ``nni.TPE``.
PREFIX = "nni."
SUPPORTED = ("TPE", "Random", "Evolution", "GridSearch")

_NUMBERS = "it searches numbers, not choices"
_ANOTHER = "it needs a package that nni 3.0 does not bring"
_RUNS_NOT = "every trial fails under it in nni 3.0"
_OURS = "nas_plugin has its own: strategy: "
#: Why the others are refused, by lower-case name or alias.
_REFUSED = {
    "anneal": f"{_ANOTHER} (hyperopt)",
    "tpe_legacy": f"{_ANOTHER} (hyperopt)",
    "smac": f"{_ANOTHER} (smac)",
    "bohb": f"{_ANOTHER} (ConfigSpace); {_OURS}bohb",
    "dngo": f"{_ANOTHER} (pybnn)",
    "ppo": f"it reads the spaces of NNI 1.x only; {_OURS}ppo",
    "gp": _NUMBERS,
    "metis": _NUMBERS,
    "pbt": _RUNS_NOT,
    "batch": "it takes one list of configurations, not a search space",
    "hyperband": f"{_RUNS_NOT}; {_OURS}hyperband",
    "networkmorphism": "it brings its own search space",
    "regularizedevolutiontuner": "it reads the spaces of NNI 1.x only; "
    f"{_OURS}regularized_evolution",
}
#: After so many proposals in a row that are no architectures the space does not suit the tuner.
_ILLEGAL = 1000


def canonical_name(name: str) -> str | None:
    """Returns NNI's spelling of a built-in tuner that runs here; None if the name is not NNI's.

    Raises:
        OptionError: If NNI has the tuner, but it cannot search architectures.
    """
    lower = str(name).lower()
    for known in SUPPORTED:
        if lower == known.lower():
            return known
    reason = _REFUSED.get(lower) or _REFUSED.get(lower.removesuffix("tuner"))
    if reason is None:
        return None
    raise OptionError(
        f"NNI's tuner '{name}' cannot search architectures here: {reason}. Tuners of NNI that "
        f"can: {', '.join(SUPPORTED)}; or use className: nas_plugin.experiment.NasTuner with any "
        "strategy of nas_plugin."
    )


class NniProposer:
    """A tuner of NNI behind the seam that a strategy has.

    Args:
        name: NNI's name of the tuner, one of `SUPPORTED`.
        space: The search space; the tuner sees its flat form.
        seed: Seed of the tuner, also of those that by themselves take none.
        options: The tuner's own arguments (``classArgs``).

    Raises:
        OptionError: If the tuner cannot search architectures or does not take the options.
    """

    def __init__(
        self, name: str, space: SearchSpace, *, seed: int, options: Mapping[str, Any]
    ) -> None:
        known = canonical_name(name)
        if known is None:
            raise OptionError(f"NNI has no tuner '{name}'. Known: {', '.join(SUPPORTED)}.")
        self.exhausted = False
        self._name, self._space = known, space
        self._asked = 0
        self._open: dict[int, Mapping[str, Any]] = {}
        self._random = random.Random(seed)
        self._seed = seed
        self._tuner = self._make(known, seed, options)
        flat = to_nni(space, "flat")
        for entry in flat.values():
            del entry["_choice"]
        with self._seeded():
            self._tuner.update_search_space(flat)

    def ask(self) -> Proposal | None:
        from nni import NoMoreTrialError

        if self._name == "Evolution" and len(self._open) >= self._tuner.population_size:
            return None  # its population would be empty
        for _ in range(_ILLEGAL):
            number = self._asked
            try:
                with self._seeded():
                    parameters = self._tuner.generate_parameters(number)
            except NoMoreTrialError:
                self.exhausted = True
                return None
            self._asked += 1
            self._open[number] = parameters
            try:
                return Proposal(number, from_parameters(_plain(parameters), self._space))
            except ArchitectureError as error:
                reason = str(error)
                self.tell(number, None, reason)
        raise SpaceError(
            f"NNI's {self._name} proposed {_ILLEGAL} combinations in a row that the space does not "
            f"allow ({reason}). Use a strategy of nas_plugin, which knows the space's conditions."
        )

    def tell(self, proposal: int, metrics: Mapping[str, float] | None, failure: str) -> None:
        parameters = self._open.pop(proposal)
        with self._seeded():
            if metrics is not None:
                value = dict(metrics) if len(metrics) > 1 else metrics["default"]
                self._tuner.receive_trial_result(proposal, parameters, value)
            self._tuner.trial_end(proposal, metrics is not None)

    def state_dict(self) -> None:
        """Returns None: the journal is all that such a tuner is resumed from."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        raise OptionError("A tuner of NNI has no state to load; delete strategy.json.")

    def _make(self, name: str, seed: int, options: Mapping[str, Any]) -> Any:
        from nni.tools.package_utils import create_builtin_class_instance

        given = dict(options)
        if name in ("TPE", "Random"):
            given["seed"] = seed
        try:
            return create_builtin_class_instance(name, given, "tuners")
        except Exception as error:  # the validators raise their own kinds
            raise OptionError(
                f"NNI's {name} does not take classArgs {dict(options)}: {error}. "
                "Name the arguments that NNI documents for it."
            ) from error

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """Gives Evolution our seed: it draws from Python's generator and from one of its own."""
        if self._name != "Evolution":
            yield
            return
        import numpy as np
        from nni.algorithms.hpo import evolution_tuner

        generator = np.random.RandomState
        with ExitStack() as stack:
            stack.enter_context(patch.object(evolution_tuner, "random", self._random))
            stack.enter_context(
                patch.object(np.random, "RandomState", lambda: generator(self._seed % 2**32))
            )
            yield


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters with numpy's scalars as Python's."""
    return {
        key: value.item() if callable(getattr(value, "item", None)) else value
        for key, value in parameters.items()
    }
