"""A real experiment of 12 light trials, shared by the tests of the portal and of attribution."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIGHT = Path(__file__).parent / "scripts" / "light.py"


@dataclass(frozen=True)
class Place:
    """A home directory of its own, so that NNI's list of experiments is the test's alone."""

    home: Path

    def environment(self, **variables):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NNI_", "NODE_"))}
        # The interpreter of the tests is what `python` in a trial command means.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        own = {"HOME": str(self.home), "PATH": path, "OMP_NUM_THREADS": "1"}
        search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return {**kept, **own, "PYTHONPATH": search, **variables}

    def command(self, *arguments, timeout=120, **variables):
        """Runs nas-plugin and returns what became of it."""
        return subprocess.run(
            [sys.executable, "-m", "nas_plugin", *map(str, arguments)],
            cwd=self.home,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments, **variables):
        """Starts nas-plugin and returns the process."""
        return subprocess.Popen(
            [sys.executable, "-m", "nas_plugin", *map(str, arguments)],
            cwd=self.home,
            env=self.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Tests that run in the background of a shell ignore Ctrl-C, and so would this.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    def config(self, name="exp", *, script=LIGHT, trials=12, concurrency=2, tuner=None, **fields):
        """Writes an experiment file and the search space of its script."""
        space = self.home / f"{name}_space.json"
        written = self.command("space", "--command", f"python {script}", "--out", space)
        assert written.returncode == 0, written.stderr
        # JSON is YAML.
        config = {
            "searchSpaceFile": str(space),
            "trialCommand": f"python {script}",
            "trialCodeDirectory": str(Path(script).parent),
            "trialConcurrency": concurrency,
            "maxTrialNumber": trials,
            "tuner": tuner
            or {
                "className": "nas_plugin.experiment.NasTuner",
                "classArgs": {
                    "strategy": "regularized_evolution",
                    "seed": 3,
                    "population": 4,
                    "sample": 2,
                },
            },
            "trainingService": {"platform": "local"},
            **fields,
        }
        path = self.home / f"{name}.yml"
        path.write_text(json.dumps(config))
        return path

    def latest(self):
        """Returns the folder of the experiment that was started last."""
        return (self.home / "nni-experiments" / "_latest").resolve()


@dataclass(frozen=True)
class Light:
    """The experiment, done, its portal open."""

    place: Place
    folder: Path
    port: int
    printed: str


@pytest.fixture
def place(tmp_path):
    pytest.importorskip("nni")
    return Place(tmp_path)


@pytest.fixture(scope="session")
def light(tmp_path_factory):
    pytest.importorskip("nni")
    place = Place(tmp_path_factory.mktemp("home"))
    ended = place.command("experiment", "create", "--config", place.config(), "--keep")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    folder = place.latest()
    # On a busy machine the manager is started again, and its portal has another port.
    port = int(re.findall(r"http://127\.0\.0\.1:(\d+)", ended.stdout + ended.stderr)[-1])
    yield Light(place, folder, port, ended.stdout)
    stopped = place.command("experiment", "stop", folder.name)
    assert stopped.returncode == 0, stopped.stderr
