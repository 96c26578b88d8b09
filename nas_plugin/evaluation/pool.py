"""Evaluation in processes of this machine."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import pickle
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from nas_plugin.errors import ExperimentError, NasError, OptionError
from nas_plugin.evaluation.evaluator import Evaluator
from nas_plugin.strategies.proposal import Outcome, Proposal

_READY = "ready"
_START_SECONDS = 600.0
_LAST_SECONDS = 10.0


class ProcessPool:
    """Evaluates in several spawned processes, each with an evaluator of its own.

    Whatever happens to a process while it evaluates (an exception, a segmentation fault, the
    kernel's out-of-memory killer, standing still) is a failure of that proposal; a new process
    takes its place.

    Args:
        make_evaluator: Makes an evaluator; called once in every process, so it must be picklable:
            a function of a module, or a `functools.partial` of one.
        workers: How many processes.
        timeout: Seconds that one evaluation may take; its process is then ended, and it counts as
            a failure. The start of a process is not counted. None waits for ever.

    Raises:
        OptionError: If `workers` or `timeout` is not positive, or `make_evaluator` cannot be
            pickled.
        ExperimentError: If a process ends before it has an evaluator, or makes none within 10
            minutes and 10 times `timeout`.
    """

    def __init__(
        self,
        make_evaluator: Callable[[], Evaluator],
        *,
        workers: int = 2,
        timeout: float | None = None,
    ) -> None:
        if workers < 1:
            raise OptionError(f"workers must be at least 1, got {workers}.")
        if timeout is not None and not timeout > 0:
            raise OptionError(f"timeout must be a positive number of seconds, got {timeout}.")
        self._make_evaluator = make_evaluator
        self._timeout = timeout
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
                worker.began = time.monotonic()
                with contextlib.suppress(OSError):  # it died while idle: `collect` sees that
                    worker.connection.send(proposal)
                return
        raise OptionError(f"All {self.slots} workers are busy; collect() first.")

    def collect(self) -> Sequence[tuple[Proposal, Outcome]]:
        """Waits until an evaluation has ended, its process has, or its time is over."""
        busy = [w for w in self._workers if w is not None and w.proposal is not None]
        ended: list[tuple[Proposal, Outcome]] = []
        while busy and not ended:
            handles = [w.connection for w in busy] + [w.process.sentinel for w in busy]
            ready = set(wait(handles, self._patience(busy)))
            for worker in busy:
                outcome = None
                if {worker.connection, worker.process.sentinel} & ready:
                    outcome = self._answer(worker)
                elif self._deadline(worker) <= time.monotonic():
                    outcome = self._late(worker)
                if outcome is not None and worker.proposal is not None:
                    ended.append((worker.proposal, outcome))
                    worker.proposal = None
        return ended

    def close(self) -> None:
        """Ends all processes, whatever they are doing."""
        for i, worker in enumerate(self._workers):
            if worker is not None:
                _end(worker)
                self._workers[i] = None

    def _answer(self, worker: _Worker) -> Outcome | None:
        """Returns what a process sent, or how it died; None if it only says that it is ready."""
        try:
            if worker.connection.poll():
                answer = worker.connection.recv()
                if isinstance(answer, Outcome):
                    return answer
                if answer == _READY:
                    worker.ready, worker.began = True, time.monotonic()
                    return None
                _end(worker)
                raise ExperimentError(f"A worker cannot make its evaluator.\n{answer}")
        except (EOFError, OSError):
            pass
        worker.process.join(_LAST_SECONDS)
        if worker.process.is_alive():  # it closed the connection and goes on
            worker.process.kill()
            worker.process.join()
        code = worker.process.exitcode
        self._drop(worker)
        return Outcome(failure=f"the worker process ended with {_exit_in_words(code)}")

    def _late(self, worker: _Worker) -> Outcome:
        """Ends a process whose time is over."""
        _end(worker)
        self._drop(worker)
        if not worker.ready:
            raise ExperimentError(
                f"A worker has made no evaluator within {self._start_limit():.0f} s. Make it "
                "lighter, or raise timeout."
            )
        return Outcome(
            failure=f"no result within the timeout of {self._timeout:g} s; the process was ended"
        )

    def _drop(self, worker: _Worker) -> None:
        self._workers[self._workers.index(worker)] = None
        worker.connection.close()

    def _deadline(self, worker: _Worker) -> float:
        if self._timeout is None:
            return math.inf
        return worker.began + (self._timeout if worker.ready else self._start_limit())

    def _start_limit(self) -> float:
        return _START_SECONDS + 10 * (self._timeout or 0.0)

    def _patience(self, busy: Sequence[_Worker]) -> float | None:
        """Returns the seconds until the next time is over; None if none ever is."""
        next_end = min(self._deadline(worker) for worker in busy)
        return None if next_end == math.inf else max(0.0, next_end - time.monotonic())


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    proposal: Proposal | None = None
    ready: bool = False
    began: float = 0.0


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
            except Exception:  # of the user; its traceback is the answer
                connection.send(traceback.format_exc())
                return
            connection.send(_READY)
        connection.send(_outcome(evaluator, proposal))


def _outcome(evaluator: Evaluator, proposal: Proposal) -> Outcome:
    try:
        outcome = evaluator.evaluate(proposal)
    except NasError as error:
        return Outcome(failure=f"{type(error).__name__}: {error}")
    except Exception:  # of the user; the search continues without this one
        return Outcome(failure=traceback.format_exc())
    if not isinstance(outcome, Outcome):
        return Outcome(failure=f"evaluate() returned {outcome!r:.80}, not an Outcome")
    return outcome


def _exit_in_words(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):  # real-time signals have numbers only
            return f"signal {signal.Signals(-code).name}"
        return f"signal {-code}"
    return f"exit code {code}"
