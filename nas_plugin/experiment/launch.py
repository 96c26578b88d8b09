"""Starting NNI's manager: create, resume and view an experiment, with the guard loaded."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from nas_plugin.errors import ExperimentError
from nas_plugin.experiment.config import has_journal, load_config
from nas_plugin.experiment.guard import guard_environment
from nas_plugin.experiment.manager_api import ManagerApi, ManagerGoneError
from nas_plugin.experiment.processes import end_orphans
from nas_plugin.experiment.signals import held_signals
from nas_plugin.files import read_text

Action = Literal["create", "resume", "view"]
#: Seconds that a busy machine may take until the manager answers, and then until it has begun.
START_SECONDS = 180.0
_POLL = 0.1
_PATIENCE = 10.0


@dataclass(frozen=True)
class Running:
    """A manager that was started.

    Args:
        id: The experiment's id.
        folder: The experiment's folder.
        port: Where its portal listens.
        process: The manager.
        began: When this manager was started, in seconds since 1970.
        log_size: The size of the tuner's log before, which earlier managers wrote.
        has_journal: Whether the tuner is known to be nas_plugin's.
    """

    id: str
    folder: Path
    port: int
    process: psutil.Process | subprocess.Popen[bytes] = field(repr=False)
    began: float = 0.0
    log_size: int = 0
    has_journal: bool = True

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


#: Takes a manager as soon as it runs; whoever takes it ends it.
Adopt = Callable[[Running], None]


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


def create(config: Path, portal: Portal, adopt: Adopt | None = None) -> Running:
    """Starts a new experiment from an NNI configuration file.

    Args:
        config: The file.
        portal: Where the portal listens.
        adopt: Is given the manager before this function returns, so that no signal comes between.

    Raises:
        ConfigError: If NNI does not accept the file.
        ExperimentError: If the manager does not start.
    """
    from nni.experiment import Experiment

    return _start(Experiment(load_config(config)), "create", portal, adopt)


def resume(experiment_id: str, portal: Portal, adopt: Adopt | None = None) -> Running:
    """Starts the manager of an experiment that was stopped or has crashed; else as `create`."""
    return _start(_known(experiment_id), "resume", portal, adopt)


def view(experiment_id: str, portal: Portal, adopt: Adopt | None = None) -> Running:
    """Starts the portal of an ended experiment; nothing is run; else as `create`."""
    return _start(_known(experiment_id), "view", portal, adopt)


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
            f"Experiment '{experiment_id}' does not run. Continue with: nas-plugin experiment "
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
    raise ExperimentError("No two adjacent ports are free on this machine.")


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


def _start(experiment: Any, action: Action, portal: Portal, adopt: Adopt | None) -> Running:
    """Starts a manager, lists it and gives it its configuration; or leaves nothing behind.

    NNI's own launcher gives the manager three seconds, and leaves it when it is interrupted.
    """
    from nni.experiment.launcher import NniManagerArgs
    from nni.tools.nnictl.config_utils import Experiments

    config, name = experiment.config.canonical_copy(), experiment.id
    port = portal.port if portal.port is not None else free_port()
    _check_free(port)
    parent = Path(config.experiment_working_directory)
    folder = parent / name
    (folder / "log").mkdir(parents=True, exist_ok=True)
    _link(parent / "_latest", name)
    arguments = NniManagerArgs(action, name, config, port, False, False, None, None)
    log = folder / "log" / "dispatcher.log"
    log_size = log.stat().st_size if log.is_file() else 0
    began = time.time()
    running: Running | None = None
    try:
        with held_signals():
            process = _spawn(arguments.to_command_line_args(), folder / "log", portal)
            running = Running(name, folder, port, process, began, log_size, has_journal(config))
        _await_answer(running)
        with held_signals():  # NNI rewrites the file of its list
            Experiments().add_experiment(
                name,
                port,
                int(began * 1000),
                arguments.mode,
                config.experiment_name,
                pid=process.pid,
                logDir=str(parent),
            )
        running.api.begin(config.json(), START_SECONDS)
        if adopt is not None:
            adopt(running)
        return running
    except BaseException as error:
        if running is not None:
            stop_manager(running, _PATIENCE)
        if isinstance(error, ExperimentError):
            raise ExperimentError(f"NNI could not start the experiment: {error}") from error
        raise


def stop_manager(running: Running, patience: float = 40.0) -> None:
    """Asks the manager to end, ends it if it does not, and then what it leaves behind."""
    with held_signals():
        for end in (running.process.terminate, running.process.kill):
            if running.alive:
                with contextlib.suppress(psutil.NoSuchProcess):
                    end()
                deadline = time.monotonic() + patience
                while running.alive and time.monotonic() < deadline:
                    time.sleep(_POLL)
        end_orphans(running.id, running.folder)


def _spawn(arguments: Sequence[str], log: Path, portal: Portal) -> subprocess.Popen[bytes]:
    import nni_node  # type: ignore[import-untyped]

    node = Path(nni_node.__path__[0])
    command = [node / "node", "--max-old-space-size=4096", "--trace-uncaught", node / "main.js"]
    # nni's search module asks for a package that nas_plugin does not need, unless told this.
    added = {"NNI_FRAMEWORK": "none", **guard_environment(portal.listen, portal.hosts)}
    with (
        (log / "nnictl_stdout.log").open("ab") as out,
        (log / "nnictl_stderr.log").open("ab") as err,
    ):
        return subprocess.Popen(
            [*map(str, command), *arguments],
            cwd=node,
            env={**os.environ, **added},
            stdout=out,
            stderr=err,
            start_new_session=True,  # Ctrl-C is for us; we end the manager
        )


def _await_answer(running: Running) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(ManagerGoneError):
            if running.api.status()[0] != "INITIALIZING":
                return
        if not running.alive:
            stderr = running.folder / "log" / "nnictl_stderr.log"
            lines = read_text(stderr).strip().splitlines() if stderr.is_file() else []
            words = "\n".join(lines[-5:])
            raise ExperimentError(f"the manager ended at once. It wrote:\n{words}")
        if time.monotonic() > deadline:
            raise ExperimentError(
                f"the manager did not answer within {START_SECONDS:g} s. Its log: "
                f"{running.folder / 'log'}. Try again when the machine is less busy."
            )
        time.sleep(_POLL)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ExperimentError(
                f"Port {port} is taken. Give another --port, or none to get a free one."
            )


def _link(link: Path, name: str) -> None:
    """Makes ``_latest`` name the experiment, as NNI does."""
    with contextlib.suppress(OSError):
        link.unlink(missing_ok=True)
        link.symlink_to(name, target_is_directory=True)
