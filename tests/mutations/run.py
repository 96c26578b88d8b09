"""Applies mutations one by one and counts those that a test notices."""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path

from tests.mutations.mutation import FOLDER, ROOT, Mutation, StaleError, load
from tests.mutations.sandbox import Result, Sandbox

#: The tests of a mutation may take this many seconds, or this many times what they take without.
LEAST_LIMIT, TIMES_LIMIT = 30.0, 10.0
#: Seconds for the tests of a file without a mutant.
BASELINE_LIMIT = 300.0

#: What can become of a mutation. The first kinds are good, the others end in an error.
KILLED, EQUIVALENT, SKIPPED, LEFT = "killed", "equivalent", "skipped", "not run"
SURVIVED, STALE, BROKEN = "survived", "stale", "broken"


@dataclass
class Report:
    """What became of each mutation.

    Args:
        verdicts: Mutation → its kind and what there is to say about it.
    """

    verdicts: dict[str, tuple[str, str]] = field(default_factory=dict)

    def count(self, kind: str) -> int:
        """Returns how many ended so."""
        return sum(found == kind for found, _ in self.verdicts.values())

    @property
    def is_good(self) -> bool:
        """Whether nothing that ran survived or could not be judged."""
        return not any(self.count(kind) for kind in (SURVIVED, STALE, BROKEN))

    def summary(self, seconds: float) -> str:
        """Returns the last line of a run."""
        killed, judged = self.count(KILLED), self.count(KILLED) + self.count(SURVIVED)
        share = f" ({100 * killed / judged:.1f} %)" if judged else ""
        others = [
            f"{self.count(kind)} {kind}"
            for kind in (SURVIVED, STALE, BROKEN, EQUIVALENT, SKIPPED, LEFT)
        ]
        return f"{killed} of {judged} killed{share}; {', '.join(others)}; {seconds:.0f} s"


class Runner:
    """Runs mutations in scratch copies, several at a time.

    Args:
        mutations: What to apply, in this order.
        sandboxes: One for each run at a time.
        deadline: `time.monotonic` after which nothing is begun.
        least: Seconds that the tests of a mutation may take at least.
        say: Prints a line.
    """

    def __init__(
        self,
        mutations: Sequence[Mutation],
        sandboxes: Sequence[Sandbox],
        *,
        deadline: float,
        least: float = LEAST_LIMIT,
        say: Callable[[str], None] = print,
    ) -> None:
        self.report = Report()
        self._waiting = list(mutations)
        self._sandboxes, self._deadline = sandboxes, deadline
        self._least, self._say = least, say
        self._root = sandboxes[0].root
        self._baseline: dict[str, Result | None] = {}
        self._tests_of = {
            file: sorted({t for m in mutations for t in m.tests if t.split("::")[0] == file})
            for file in sorted({t.split("::")[0] for m in mutations for t in m.tests})
        }

    def run(self) -> Report:
        """Runs until all are judged or the time is over."""
        jobs: dict[int, Callable[[Result], None]] = {}
        while True:
            for i, sandbox in enumerate(self._sandboxes):
                if i not in jobs:
                    job = self._begin(sandbox)
                    if job is not None:
                        jobs[i] = job
            if not jobs:
                break
            wait([s for i in jobs if (s := self._sandboxes[i].sentinel) is not None], timeout=0.5)
            for i in list(jobs):
                result = self._sandboxes[i].poll()
                if result is not None:
                    self._sandboxes[i].restore()
                    jobs.pop(i)(result)
        for mutation in self._waiting:
            self._judge(mutation, LEFT, "out of time")
        return self.report

    def _begin(self, sandbox: Sandbox) -> Callable[[Result], None] | None:
        """Starts the next thing to do and returns what to do with its result."""
        for mutation in list(self._waiting):
            if time.monotonic() > self._deadline:
                return None
            if mutation.equivalent:
                self._drop(mutation, EQUIVALENT, mutation.equivalent)
                continue
            try:
                mutation.check_tests(self._root)
                source = mutation.source(self._root)
            except StaleError as error:
                self._drop(mutation, STALE, str(error))
                continue
            files = dict.fromkeys(test.split("::")[0] for test in mutation.tests)
            missing = [file for file in files if file not in self._baseline]
            if missing:
                self._baseline[missing[0]] = None
                sandbox.start(self._tests_of[missing[0]], limit=BASELINE_LIMIT)
                return lambda result, file=missing[0]: self._baseline.update({file: result})
            baselines = [r for file in files if (r := self._baseline[file]) is not None]
            if len(baselines) < len(files):
                continue  # another sandbox is at it
            if self._cannot_judge(mutation):
                continue
            self._waiting.remove(mutation)
            sandbox.change(mutation.file, source)
            usual = sum(result.seconds for result in baselines)
            sandbox.start(list(mutation.tests), limit=max(self._least, TIMES_LIMIT * usual))
            return lambda result, mutation=mutation: self._conclude(mutation, result)
        return None

    def _cannot_judge(self, mutation: Mutation) -> bool:
        """Drops a mutation of which a test does not pass without it."""
        for test in mutation.tests:
            result = self._baseline[test.split("::")[0]]
            assert result is not None
            outcome = result.of(test)
            if outcome == "skipped":
                self._drop(mutation, SKIPPED, f"{test} is skipped here")
            elif outcome != "passed":
                self._drop(mutation, BROKEN, f"{test} is {outcome} without it\n{result.output}")
            else:
                continue
            return True
        return False

    def _conclude(self, mutation: Mutation, result: Result) -> None:
        if result.timed_out:
            self._judge(mutation, KILLED, f"by running out of {result.seconds:.0f} s")
            return
        outcomes = {test: result.of(test) for test in mutation.tests}
        for test, outcome in outcomes.items():
            if outcome == "passed":
                self._judge(mutation, SURVIVED, f"{test} passes. {mutation.mistake}")
                return
            if outcome != "failed" and result.outcomes:
                self._judge(mutation, BROKEN, f"{test} is {outcome} with it\n{result.output}")
                return
        self._judge(mutation, KILLED, f"{result.seconds:.1f} s")

    def _drop(self, mutation: Mutation, kind: str, remark: str) -> None:
        self._waiting.remove(mutation)
        self._judge(mutation, kind, remark)

    def _judge(self, mutation: Mutation, kind: str, remark: str) -> None:
        self.report.verdicts[mutation.id] = (kind, remark)
        self._say(f"{kind:<10} {mutation.id:<44} {remark}")


def shuffled(mutations: Sequence[Mutation], seed: int) -> list[Mutation]:
    """Returns an order that depends on names and the seed alone: its beginning is a fair sample."""
    return sorted(mutations, key=lambda m: hashlib.sha256(f"{seed} {m.id}".encode()).hexdigest())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the mutations and returns the exit code: 0 if none survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", help="only mutations whose name holds one of these")
    parser.add_argument("--minutes", type=float, default=10.0, help="begin nothing later")
    parser.add_argument("--seed", type=int, default=0, help="which come first if time is short")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--time-limit", type=float, default=LEAST_LIMIT, help="seconds per run")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project; this one by default")
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    root = chosen.root.resolve()
    os.environ.setdefault("NAS_PLUGIN_DATA", str(root.parent / "shared" / "data"))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    known = load(root / FOLDER.relative_to(ROOT))
    mutations = [m for m in known if not chosen.names or any(n in m.id for n in chosen.names)]
    if not mutations:
        parser.error(f"none of the {len(known)} mutations has such a name")
    import torch  # once, for every fork

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="mutations-") as scratch:
        sandboxes = [Sandbox(root, Path(scratch) / str(i)) for i in range(chosen.workers)]
        report = Runner(
            shuffled(mutations, chosen.seed),
            sandboxes,
            deadline=began + 60 * chosen.minutes,
            least=chosen.time_limit,
        ).run()
    print()
    for name, (kind, remark) in sorted(report.verdicts.items()):
        if kind in (SURVIVED, STALE, BROKEN):
            print(f"{kind:<10} {name}: {remark.splitlines()[0]}")
    print(report.summary(time.monotonic() - began))
    return 0 if report.is_good else 1
