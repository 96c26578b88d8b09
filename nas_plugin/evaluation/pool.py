"""Evaluation in processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from nas_plugin.errors import ExperimentError, NasError, OptionError
from nas_plugin.evaluation.evaluator import Evaluator
from nas_plugin.strategies.proposal import Outcome, Proposal


class ProcessPool:
    """Evaluates in several spawned processes, each with an evaluator of its own.

    Whatever happens to a process while it evaluates (an exception, a segmentation fault, the
    kernel's out-of-memory killer) is a failure of that proposal; a new process takes its place.

    Args:
        make_evaluator: Makes an evaluator; called once in every process, so it must be picklable:
            a function of a module, or a `functools.partial` of one.
        workers: How many processes.

    Raises:
        OptionError: If `workers` is not positive, or `make_evaluator` cannot be pickled.
        ExperimentError: If a process ends before it has an evaluator.
    """

    def __init__(self, make_evaluator: Callable[[], Evaluator], *, workers: int = 2) -> None:
        if workers < 1:
            raise OptionError(f"workers must be at least 1, got {workers}.")
        self._make_evaluator = make_evaluator
        self._workers: list[_Worker | None] = [None] * workers

    @property
    def slots(self) -> int:
        """The number of processes."""
        return len(self._workers)

    def submit(self, proposal: Proposal) -> None:
        """Hands a proposal to an idle process; starts it if need be."""
        for i, worker in enumerate(self._workers):
            if worker is None:
                worker = self._workers[i] = _start(self._make_evaluator)
            if worker.proposal is None:
                worker.proposal = proposal
                with contextlib.suppress(OSError):  # it died while idle: `collect` sees that
                    worker.connection.send(proposal)
                return
        raise OptionError(f"All {self.slots} workers are busy; collect() first.")

    def collect(self) -> Sequence[tuple[Proposal, Outcome]]:
        """Waits until an evaluation has ended or its process has."""
        busy = [w for w in self._workers if w is not None and w.proposal is not None]
        ready = set(wait([w.connection for w in busy] + [w.process.sentinel for w in busy]))
        ended = []
        for worker in busy:
            if worker.proposal is None or not {worker.connection, worker.process.sentinel} & ready:
                continue
            outcome = self._answer(worker)
            ended.append((worker.proposal, outcome))
            worker.proposal = None
        return ended

    def close(self) -> None:
        """Ends all processes, whatever they are doing."""
        for i, worker in enumerate(self._workers):
            if worker is not None:
                _end(worker)
                self._workers[i] = None

    def _answer(self, worker: _Worker) -> Outcome:
        """Returns what a process sent, or how it died."""
        try:
            if worker.connection.poll():
                answer = worker.connection.recv()
                if isinstance(answer, Outcome):
                    return answer
                _end(worker)
                raise ExperimentError(f"A worker cannot make its evaluator.\n{answer}")
        except (EOFError, OSError):
            pass
        worker.process.join()
        code = worker.process.exitcode
        self._workers[self._workers.index(worker)] = None
        worker.connection.close()
        return Outcome(failure=f"the worker process ended with {_exit_in_words(code)}")


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    proposal: Proposal | None = None


def _start(make_evaluator: Callable[[], Evaluator]) -> _Worker:
    # Forking a process that runs threads (torch's) can deadlock the child.
    context = multiprocessing.get_context("spawn")
    try:
        pickle.dumps(make_evaluator)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise OptionError(
            f"make_evaluator goes to other processes, but cannot be pickled: {error}. Give a "
            "function of a module, or a functools.partial of one."
        ) from error
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(make_evaluator, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.connection.close()


def _serve(make_evaluator: Callable[[], Evaluator], connection: Connection) -> None:
    """Answers proposals until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the search, which ends us
    evaluator: Evaluator | None = None
    while True:
        try:
            proposal = connection.recv()
        except EOFError:
            return
        if evaluator is None:
            try:
                evaluator = make_evaluator()
            except Exception:
                connection.send(traceback.format_exc())
                return
        connection.send(_outcome(evaluator, proposal))


def _outcome(evaluator: Evaluator, proposal: Proposal) -> Outcome:
    try:
        outcome = evaluator.evaluate(proposal)
    except NasError as error:
        return Outcome(failure=f"{type(error).__name__}: {error}")
    except Exception:
        return Outcome(failure=traceback.format_exc())
    if not isinstance(outcome, Outcome):
        return Outcome(failure=f"evaluate() returned {outcome!r:.80}, not an Outcome")
    return outcome


def _exit_in_words(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
