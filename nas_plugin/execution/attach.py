"""Chooses how the models of a mutator run."""

from __future__ import annotations

from nas_plugin.choice.binding import Binding
from nas_plugin.errors import OptionError
from nas_plugin.execution.dispatch import Dispatcher
from nas_plugin.execution.executor import Executor, executors

#: Fastest first; what is registered beside them comes after.
PREFERRED = ("native", "wide")


def executions() -> list[str]:
    """Returns what `execution` may be."""
    return ["auto", "eager", *executors.names()]


def chosen_executors(execution: str) -> list[Executor]:
    """Returns the executors that an `execution` means, in the order in which they are asked.

    What a named executor leaves is offered to no other but ``wide``, which runs anywhere.

    Raises:
        OptionError: If `execution` is none of `executions()`.
    """
    if execution not in executions():
        raise OptionError(f"execution must be one of {', '.join(executions())}; got {execution!r}.")
    if execution == "eager":
        return []
    if execution == "auto":
        known = executors.names()
        ranked = [name for name in PREFERRED if name in known]
        ranked += [name for name in known if name not in PREFERRED]
    else:
        ranked = list(dict.fromkeys([execution, "wide"]))
    kinds = [executors.get(name) for name in ranked]
    return [kind() for kind in kinds if kind.unavailable() is None]


def attach(binding: Binding, execution: str = "auto") -> str:
    """Chooses how the models of a mutator run.

    Args:
        binding: The mutator's.
        execution: ``auto`` uses the fastest executor that serves a candidate, ``eager`` none, a
            name that one.

    Returns:
        The executors that this machine has for it, in the order in which they are asked.

    Raises:
        OptionError: If `execution` is something else.
    """
    served_by = chosen_executors(execution)
    binding.dispatch = Dispatcher(served_by) if served_by else None
    return ", ".join(executor.name for executor in served_by) or "eager"
