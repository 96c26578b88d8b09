"""A scratch copy of the project, and pytest runs inside it."""

from __future__ import annotations

import compileall
import contextlib
import json
import multiprocessing
import os
import py_compile
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

COPIED = ("nas_plugin", "search_spaces", "examples", "tests", "docs", "perf")
FILES = ("pyproject.toml", "setup.cfg", "README.md", "Makefile", "LICENSE", "CHANGELOG.md")


class Recorder:
    """Runs the named tests alone and notes what became of each.

    That is passed, failed, skipped, or broken (not collected). A name that pytest does not know is
    no error here: it has no outcome.
    """

    def __init__(self, tests: list[str], trace: Path | None = None) -> None:
        self.outcomes: dict[str, str] = {}
        self.reached: dict[str, list[str]] = {}
        self._tests, self._trace = tests, trace

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        wanted = [i for i in items if any(_is_of(i.nodeid, test) for test in self._tests)]
        items[:] = wanted

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if self._trace is None:
            return (yield)
        source, seen = str(self._trace / "nas_plugin"), set()

        def called(frame: FrameType, event: str, argument: object) -> None:
            code = frame.f_code
            if code.co_filename.startswith(source):
                seen.add((code.co_filename, code.co_firstlineno))

        sys.settrace(called)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self.reached[item.nodeid] = [
                f"{Path(file).relative_to(self._trace)}:{line}" for file, line in sorted(seen)
            ]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        worst = self.outcomes.get(report.nodeid)
        if report.outcome != "passed" or (report.when == "call" and worst is None):
            self.outcomes[report.nodeid] = worst if worst == "failed" else report.outcome

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome == "failed":
            self.outcomes[report.nodeid] = "broken"


@dataclass
class Result:
    """What a run of tests gave.

    Args:
        outcomes: Test → passed, failed, skipped or broken.
        seconds: How long the run took.
        timed_out: Whether it was ended before it was done.
        output: What it printed.
        reached: Test → the functions of the project that it called, as ``file:line``; only if the
            run was traced.
    """

    outcomes: dict[str, str]
    seconds: float
    timed_out: bool
    output: str
    reached: dict[str, list[str]]

    def of(self, test: str) -> str:
        """Returns what became of a named test; all of its parameters, if none is named."""
        own = {o for node, o in self.outcomes.items() if _is_of(node, test)}
        for outcome in ("broken", "failed", "passed", "skipped"):
            if outcome in own:
                return outcome
        if any(o == "broken" for o in self.outcomes.values()):
            return "broken"
        return "missing"


@dataclass
class Sandbox:
    """A copy of the project in which one run of tests is under way at a time.

    Args:
        root: The project.
        place: Where the copy is made.
    """

    root: Path
    place: Path
    _process: ForkProcess | None = None
    _began: float = 0.0
    _limit: float = 0.0
    _changed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ignore = shutil.ignore_patterns("__pycache__", ".git", "node_modules")
        for name in COPIED:
            if (self.root / name).is_dir():
                shutil.copytree(self.root / name, self.place / name, ignore=ignore)
        for name in FILES:
            if (self.root / name).is_file():
                shutil.copy2(self.root / name, self.place / name)
        # Compiled once; the hash of the source decides, so that a change is always seen.
        compileall.compile_dir(
            str(self.place),
            quiet=2,
            invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
        )

    @property
    def sentinel(self) -> int | None:
        """What to wait for while a run is under way."""
        return None if self._process is None else self._process.sentinel

    def change(self, file: str, source: str) -> None:
        """Replaces a file until `restore`."""
        self._changed.setdefault(file, (self.place / file).read_text())
        (self.place / file).write_text(source)

    def restore(self) -> None:
        """Undoes all changes."""
        for file, source in self._changed.items():
            (self.place / file).write_text(source)
        self._changed = {}

    def start(
        self,
        tests: list[str],
        *,
        limit: float,
        marks: str = "",
        first_failure: bool = False,
        trace: bool = False,
    ) -> None:
        """Begins a run of tests.

        Args:
            tests: Names as pytest takes them.
            limit: Seconds after which it is ended.
            marks: The marks that tests must have, as pytest takes them.
            first_failure: Ends the run at the first test that fails.
            trace: Notes which functions each test calls.
        """
        assert self._process is None
        self._began, self._limit = time.monotonic(), limit
        options = ["-m", marks, *(["-x"] if first_failure else [])]
        # A fork has torch and pytest loaded; the project itself was never imported here.
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_run, args=(self.place, tests, options, trace))
        self._process.start()

    def poll(self) -> Result | None:
        """Returns the result if the run has ended or its time is over."""
        assert self._process is not None
        seconds = time.monotonic() - self._began
        timed_out = self._process.is_alive() and seconds > self._limit
        if self._process.is_alive() and not timed_out:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid or 0, signal.SIGKILL)  # what the tests started, too
        self._process.join()
        self._process = None
        report, printed = self.place / "report.json", self.place / "output.txt"
        found: list[dict[str, Any]] = (
            json.loads(report.read_text()) if report.exists() else [{}, {}]
        )
        output = printed.read_text(errors="replace") if printed.exists() else ""
        report.unlink(missing_ok=True)
        return Result(found[0], seconds, timed_out, output, found[1])


def _run(place: Path, tests: list[str], options: list[str], trace: bool) -> None:
    os.setsid()
    os.chdir(place)
    sys.dont_write_bytecode = True
    os.environ["PYTHONPATH"] = str(place)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.path[:] = [str(place), *(p for p in sys.path if not _holds_the_project(p))]
    for name in [n for n in sys.modules if n.split(".")[0] == "tests"]:
        del sys.modules[name]
    output = os.open(place / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    recorder = Recorder(tests, place if trace else None)
    places = list(dict.fromkeys(test.split("::")[0] for test in tests))
    temporary = place / "temporary"
    options = [*options, "-q", "-p", "no:cacheprovider", "--tb=short", f"--basetemp={temporary}"]
    code: Any = 3
    try:
        code = pytest.main([*options, *places], [recorder])
        import nas_plugin

        assert Path(nas_plugin.__file__).is_relative_to(place), nas_plugin.__file__
        (place / "report.json").write_text(json.dumps([recorder.outcomes, recorder.reached]))
    finally:
        sys.stdout.flush()
        os._exit(int(code))


def _holds_the_project(entry: str) -> bool:
    return (Path(entry or ".") / "nas_plugin").is_dir()


def _is_of(node: str, test: str) -> bool:
    """Says whether a test is the named one: a case of it, or a part of the named file or folder."""
    path = node.partition("::")[0]
    if "::" not in test:
        return path == test or path.startswith(f"{test}/")
    return node == test or node.startswith((f"{test}[", f"{test}::"))
