"""The processes of an experiment, known by what NNI put into their environment."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

_PATIENCE = 10.0


def experiment_processes(experiment_id: str, folder: Path) -> list[psutil.Process]:
    """Returns the tuners and trials of an experiment that run on this machine.

    A number alone could by now be another program's; the environment cannot be.
    """
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    log = str(folder / "log")
    found = []
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        is_trial = environment.get("NNI_EXP_ID") == experiment_id
        is_tuner = environment.get("NNI_LOG_DIRECTORY") == log and "SDK_PROCESS" in environment
        if is_trial or is_tuner:
            found.append(process)
    return found


def dispatcher_alive(experiment_id: str, folder: Path) -> bool:
    """Says whether the process that serves the tuner runs."""
    return any(
        "--exp_params" in _command(process) and process.status() != psutil.STATUS_ZOMBIE
        for process in experiment_processes(experiment_id, folder)
    )


def end_orphans(experiment_id: str, folder: Path) -> int:
    """Ends what is left of an experiment whose manager has died; returns how many."""
    orphans = experiment_processes(experiment_id, folder)
    for process in orphans:
        _signal(process, hard=False)
    _, stubborn = psutil.wait_procs(orphans, timeout=_PATIENCE)
    for process in stubborn:
        _signal(process, hard=True)
    psutil.wait_procs(stubborn, timeout=_PATIENCE)
    return len(orphans)


def _signal(process: psutil.Process, *, hard: bool) -> None:
    try:
        process.kill() if hard else process.terminate()
    except psutil.NoSuchProcess:
        return


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
