"""Starting NNI's manager: create, resume and view an experiment, with the guard loaded."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from nas_plugin.errors import ConfigError, ExperimentError, FileError
from nas_plugin.experiment.guard import guard_environment
from nas_plugin.experiment.manager_api import ManagerApi
from nas_plugin.files import read_yaml

Action = Literal["create", "resume", "view"]
_STARTS = 4
TUNER_CLASS = "nas_plugin.experiment.NasTuner"


@dataclass(frozen=True)
class Running:
    """A manager that was started.

    Args:
        id: The experiment's id.
        folder: The experiment's folder.
        port: Where its portal listens.
        process: The manager.
    """

    id: str
    folder: Path
    port: int
    process: psutil.Process | subprocess.Popen[bytes] = field(repr=False)

    @property
    def url(self) -> str:
        """The portal's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> ManagerApi:
        """The manager's REST interface."""
        return ManagerApi(self.url)

    @property
    def alive(self) -> bool:
        """Whether the manager runs."""
        if isinstance(self.process, psutil.Process):
            try:
                return bool(self.process.status() != psutil.STATUS_ZOMBIE)
            except psutil.NoSuchProcess:
                return False
        return self.process.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether the manager that this process started was told to end, and did."""
        return isinstance(self.process, subprocess.Popen) and self.process.poll() == 0


@dataclass(frozen=True)
class Portal:
    """Where the web portal listens.

    Args:
        port: Its port; None picks a free one.
        listen: An address that other machines can reach; None is this machine only.
        hosts: Names by which other machines call this one.
    """

    port: int | None = None
    listen: str | None = None
    hosts: Sequence[str] = ()


def create(config: Path, portal: Portal) -> Running:
    """Starts a new experiment from an NNI configuration file.

    Raises:
        ConfigError: If NNI does not accept the file.
        ExperimentError: If the manager does not start.
    """
    from nni.experiment import Experiment

    return _start(lambda: Experiment(load_config(config)), "create", portal)


def resume(experiment_id: str, portal: Portal) -> Running:
    """Starts the manager of an experiment that was stopped or has crashed."""
    return _start(lambda: _known(experiment_id), "resume", portal)


def view(experiment_id: str, portal: Portal) -> Running:
    """Starts the portal of an ended experiment; nothing is run."""
    return _start(lambda: _known(experiment_id), "view", portal)


def load_config(path: Path) -> Any:
    """Returns NNI's configuration object of a YAML file, checked.

    NNI wants a ``codeDirectory`` beside every ``className``; ours needs none and gets one here.
    """
    from nni.experiment.config import ExperimentConfig, utils

    try:
        content = read_yaml(path)
    except FileError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path} must hold a mapping, found {type(content).__name__}.")
    content = dict(content)
    tuner = content.get("tuner")
    if isinstance(tuner, Mapping) and tuner.get("className") == TUNER_CLASS:
        content["tuner"] = {"codeDirectory": ".", **tuner}
    utils.set_base_path(path.resolve().parent)
    try:
        config = ExperimentConfig(**content)
        config.canonical_copy()
    except (AssertionError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: NNI does not accept the configuration: {error or type(error).__name__}. "
            "See https://nni.readthedocs.io/en/stable/reference/experiment_config.html"
        ) from error
    finally:
        utils.unset_base_path()
    return config


def experiment_folder(experiment_id: str) -> Path:
    """Returns the folder of an experiment of this machine.

    Raises:
        ExperimentError: If NNI's list has no such experiment.
    """
    return Path(experiment_entry(experiment_id)["logDir"]) / experiment_id


def experiment_entry(experiment_id: str) -> dict[str, Any]:
    """Returns what NNI's own list says about an experiment, corrected by what really runs."""
    known = list_experiments()
    if experiment_id not in known:
        shown = ", ".join(list(known)[-8:]) or "none"
        raise ExperimentError(f"There is no experiment '{experiment_id}'. Known: {shown}.")
    return known[experiment_id]


def find_running(experiment_id: str) -> Running:
    """Returns the running manager of an experiment.

    Raises:
        ExperimentError: If none runs.
    """
    entry = experiment_entry(experiment_id)
    try:
        process = psutil.Process(int(entry.get("pid") or 0))
    except psutil.NoSuchProcess:
        process = None
    if entry["status"] == "STOPPED" or process is None or "node" not in process.name():
        raise ExperimentError(
            f"Experiment '{experiment_id}' does not run. Go on with it: nas-plugin experiment "
            f"resume {experiment_id}; or look at it: nas-plugin experiment view {experiment_id}"
        )
    folder = Path(entry["logDir"]) / experiment_id
    return Running(experiment_id, folder, int(entry["port"]), process)


def list_experiments() -> dict[str, dict[str, Any]]:
    """Returns NNI's list of experiments: id -> port, pid, status, folder."""
    from nni.tools.nnictl.config_utils import Experiments
    from nni.tools.nnictl.nnictl_utils import update_experiment

    update_experiment()
    found: dict[str, dict[str, Any]] = Experiments().get_all_experiments()
    return found


def free_port() -> int:
    """Returns a port on which nobody listens, whose next one is free too (NNI may need both)."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise ExperimentError("No two free ports lie side by side on this machine.")


def _known(experiment_id: str) -> Any:
    from nni.experiment import Experiment
    from nni.experiment.launcher import get_stopped_experiment_config

    entry = experiment_entry(experiment_id)
    pid = entry.get("pid")
    if entry["status"] != "STOPPED" and isinstance(pid, int) and psutil.pid_exists(pid):
        raise ExperimentError(
            f"Experiment '{experiment_id}' is still {entry['status']} on port {entry['port']}. "
            f"Stop it first: nas-plugin experiment stop {experiment_id}"
        )
    config = get_stopped_experiment_config(experiment_id, entry["logDir"])
    return Experiment(config, id=experiment_id)


def _start(make: Callable[[], Any], action: Action, portal: Portal) -> Running:
    """Starts a manager, again where a busy machine is slower than NNI allows."""
    from nni.experiment import RunMode

    for attempt in range(_STARTS):
        experiment = make()
        experiment._action = action
        port = portal.port if portal.port is not None else free_port()
        try:
            with _quiet(), _environment(guard_environment(portal.listen, portal.hosts)):
                experiment.start(port, False, RunMode.Detach)
            break
        except Exception as error:
            # NNI gives its manager three seconds to answer, and reads "not yet" as broken JSON.
            if attempt + 1 == _STARTS or not isinstance(error, (ValueError, OSError)):
                raise ExperimentError(f"NNI could not start the experiment: {error}") from error
    folder = Path(experiment.config.canonical_copy().experiment_working_directory) / experiment.id
    return Running(experiment.id, folder, port, experiment._proc)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps NNI from printing addresses on which the guarded portal does not listen."""
    logger = logging.getLogger("nni.experiment")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for the processes that are started meanwhile.

    NNI's launcher takes no environment of its own.
    """
    # nni's search module asks for a package that nas_plugin does not need, unless told this.
    added = {"NNI_FRAMEWORK": "none", **variables}
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
