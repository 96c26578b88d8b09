"""Signals end a program with their exit codes from its first line on; the library alone sets none.

That work which was begun unwinds, and runs that are killed at random, is in `tests/faults`.
"""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    path for path in (ROOT / "examples").glob("*/*.py") if "guarded(" in path.read_text()
)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
ASKED = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}

posix = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def start(*words: str, ignored: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    """Starts a Python program with the default actions of signals, but for those ignored."""

    def before() -> None:
        for number in ASKED:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, *words], env=ENVIRONMENT, cwd=ROOT, text=True, preexec_fn=before,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def catches(process: subprocess.Popen[str], number: int) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def wait_for_handler(process: subprocess.Popen[str], number: int) -> None:
    end = time.monotonic() + 60
    while not catches(process, number):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.002)


@posix
@pytest.mark.processes
@pytest.mark.parametrize("number", list(ASKED), ids=lambda n: signal.Signals(n).name)
@pytest.mark.parametrize("words", [("examples/darts/search.py", "--help"), ("-m", "nas_plugin")])
def test_a_signal_inside_the_imports_ends_with_its_code(
    words: tuple[str, ...], number: int
) -> None:
    # SIGINT is caught by Python itself before our first line; SIGHUP is not.
    process = start(*words)
    wait_for_handler(process, signal.SIGTERM)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)

    assert process.returncode in (ASKED[number], 2), said  # the command line may have ended
    assert "Traceback" not in said


@posix
@pytest.mark.processes
def test_what_was_ignored_at_the_start_stays_ignored() -> None:
    code = (
        "from nas_plugin.signals import handle_signals; handle_signals()\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGHUP); print('alive', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)"
    )
    process = start("-c", code, ignored=(signal.SIGHUP,))
    said, _ = process.communicate(timeout=60)

    assert (said, process.returncode) == ("alive\n", 143)


@posix
@pytest.mark.processes
def test_work_that_was_begun_unwinds() -> None:
    code = (
        "from nas_plugin.signals import handle_signals; handle_signals()\n"
        "from nas_plugin.cli import guarded\n"
        "import sys, time\n"
        "def work():\n"
        "    try:\n        print('begun', flush=True); time.sleep(60)\n"
        "    finally:\n        print('unwound', flush=True)\n"
        "sys.exit(guarded(work))"
    )
    for number, expected in ASKED.items():
        process = start("-c", code)
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        process.send_signal(number)
        said, errors = process.communicate(timeout=60)
        assert (said, process.returncode) == ("unwound\n", expected), errors
        assert "Traceback" not in errors


@pytest.mark.processes
def test_importing_the_library_sets_no_handler() -> None:
    code = (
        "import signal\n"
        "all_of = lambda: [signal.getsignal(n) for n in (1, 2, 15)]\n"
        "before = all_of()\n"
        "import nas_plugin.trainers, nas_plugin.cli, nas_plugin.evaluation, nas_plugin.experiment\n"
        "import nas_plugin.scripts, nas_plugin.commands.experiment\n"
        "assert all_of() == before"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_script_handles_signals_before_it_imports_anything(path: Path) -> None:
    docstring, future, block, *_ = ast.parse(path.read_text()).body

    assert isinstance(docstring, ast.Expr)
    assert isinstance(future, ast.ImportFrom) and future.module == "__future__"
    assert isinstance(block, ast.If) and "handle_signals()" in ast.unparse(block)
