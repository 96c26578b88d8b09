"""Starting a manager: a signal leaves nothing, and what it says is of this start."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

from nas_plugin.errors import ExperimentError
from nas_plugin.experiment import launch
from nas_plugin.experiment.journal import Journal, journal_path
from nas_plugin.experiment.launch import Portal, Running
from nas_plugin.experiment.signals import held_signals
from nas_plugin.experiment.supervise import last_words, tuner_mistake

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}


def test_a_held_signal_comes_at_the_end_of_the_block():
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        with held_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            assert came == []
        assert came == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_words_and_mistakes_are_those_of_this_start(tmp_path):
    (tmp_path / "log").mkdir()
    log = tmp_path / "log" / "dispatcher.log"
    log.write_text("an old traceback\n")
    journal = Journal(journal_path(tmp_path))
    journal.append("error", message="an old mistake")
    running = Running("none", tmp_path, 9, None, time.time(), log.stat().st_size)
    assert last_words(running) == "" and tuner_mistake(running) is None
    with log.open("a") as file:
        file.write("out of memory\n")
    journal.append("error", message="a new mistake")
    journal.close()
    assert last_words(running) == "out of memory" and tuner_mistake(running) == "a new mistake"


def test_a_manager_that_ends_at_once_is_an_error_with_its_words(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "nnictl_stderr.log").write_text("Error: no such option\n")
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
    process.wait()
    running = Running("none", tmp_path, launch.free_port(), process)
    with pytest.raises(ExperimentError, match="ended at once.*\nError: no such option"):
        launch._await_answer(running)


def test_a_manager_that_never_answers_is_given_up_after_the_stated_time(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "START_SECONDS", 0.2)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        running = Running("none", tmp_path, launch.free_port(), process)
        with pytest.raises(ExperimentError, match=r"did not answer within 0\.2 s"):
            launch._await_answer(running)
    finally:
        process.kill()
        process.wait()


@pytest.mark.processes
def test_a_port_that_is_taken_is_said_before_anything_starts(place):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = place.command(
            "experiment", "create", "--config", place.config(), "--port", str(port)
        )
    assert ended.returncode == 1 and f"Port {port} is taken" in ended.stderr
    assert belonging(place) == []
    assert Portal().port is None


def belonging(place):
    """Returns the processes that hold the home of the test in their environment or command."""
    found = []
    for process in psutil.process_iter():
        try:
            text = " ".join([*process.cmdline(), process.environ().get("HOME", "")])
        except psutil.Error:
            continue
        if str(place.home) in text and process.pid != os.getpid():
            found.append(process)
    return found


def interrupt(place, name, ready):
    """Sends a signal when `ready` says so; checks what is left."""
    process = place.start("experiment", "create", "--config", place.config(trials=500))
    deadline = time.monotonic() + 120
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.Signals[name])
    output = process.communicate(timeout=120)[0]
    assert process.returncode == CODES[name], output
    assert "Traceback" not in output
    left = belonging(place)
    assert left == [], f"{left} run on; it said {output}"
    ports = {c.laddr.port for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    said = [int(word.rpartition(":")[2]) for word in output.split() if "http://127" in word]
    assert not ports & set(said)
    return output


@pytest.mark.processes
@pytest.mark.parametrize("name", CODES)
def test_a_signal_while_the_manager_starts_leaves_no_process_and_no_port(place, name):
    def node():
        return any("main.js" in " ".join(p.cmdline()) for p in belonging(place))

    interrupt(place, name, node)


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("seed", range(12))
def test_a_signal_at_any_moment_of_the_start_leaves_nothing(place, seed):
    draw = random.Random(seed)
    name, after = draw.choice(list(CODES)), draw.uniform(0, 6)
    began = []

    def ready():
        # From the moment on at which the command has imported what it needs to catch a signal.
        if not began and any("experiment" in p.cmdline() for p in belonging(place)):
            began.append(time.monotonic() + 1.5)
        return bool(began) and time.monotonic() > began[0] + after

    print(f"seed {seed}: {name} after {after:.2f} s")
    interrupt(place, name, ready)
