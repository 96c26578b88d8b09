"""What an experiment was begun with: it cannot be resumed with something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from nas_plugin.errors import ExperimentError
from nas_plugin.experiment.guard import guard_address, rows_are_exact
from nas_plugin.experiment.journal import Journal
from nas_plugin.experiment.proposer import Proposer, make_proposer
from nas_plugin.space.search_space import SearchSpace


class Session:
    """One run of the tuner.

    Args:
        settings: ``strategy``, ``seed`` and ``options``.
        space: The search space as NNI has it.
    """

    def __init__(self, settings: Mapping[str, Any], space: Mapping[str, Any]) -> None:
        self._settings = dict(settings)
        self._space = dict(space)

    def make_strategy(self, space: SearchSpace) -> Proposer:
        """Returns a new strategy.

        Raises:
            OptionError: If there is none of that name or it does not take the options.
        """
        name, seed, options = (self._settings[key] for key in ("strategy", "seed", "options"))
        return make_proposer(name, space, seed=seed, options=options)

    def check(self, events: Sequence[Mapping[str, Any]], *, resumed: bool) -> None:
        """Compares with the session that began the journal.

        Raises:
            ExperimentError: If the settings differ, or there is a journal where none should be.
        """
        first = next((e for e in events if e["event"] == "session"), None)
        if first is None:
            return
        if not resumed:
            raise ExperimentError(
                "A new experiment found the journal of another in its folder. Give it another id."
            )
        for name, given in {**self._settings, "space": self._space}.items():
            if first[name] != given:
                shown = "the space is another" if name == "space" else f"now {given!r}"
                raise ExperimentError(
                    f"The experiment was begun with another {name} ({shown}, then "
                    f"{str(first[name])[:200]}). Resume it as it was, or create a new one."
                )

    def begin(self, journal: Journal, *, resumed: bool) -> None:
        """Writes the session into the journal."""
        process = psutil.Process()
        journal.append(
            "session",
            **self._settings,
            space=self._space,
            resumed=resumed,
            pid=process.pid,
            created=process.create_time(),
            guard=guard_address(),
            rows_exact=rows_are_exact(),
        )
