"""Disks that are full, folders that vanish or are another run's: one error, nothing lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nas_plugin.cli import guarded
from nas_plugin.errors import CheckpointError, FileError, LockedError, OptionError
from nas_plugin.evaluation import Budget, search
from nas_plugin.files import append_line, load_latest
from nas_plugin.reporting import JsonlLog, read_jsonl
from nas_plugin.space import Choice, SearchSpace
from nas_plugin.strategies import GridSearch, Outcome
from tests.faults.small_run import At, small_trainer

ROOT = Path(__file__).parents[2]
#: The examples that take --out, each with the least else that they need.
SCRIPTS = (
    "darts/search.py", "darts/retrain.py", "enas/search.py", "multi_trial/search.py",
    "nasbench201/search.py", "pc_darts/search.py", "proxylessnas/search.py",
    "random_nas/search.py", "spos/supernet.py", "textnas/search.py", "annotate/search.py",
)  # fmt: skip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and /dev of Linux")


@contextmanager
def file_limit() -> Iterator[Callable[[int], None]]:
    """Yields what makes every file longer than some bytes fail to be written, as a full disk.

    That holds for what pytest writes, too: inside, nothing may be printed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_disk_that_is_full_at_a_log_line_loses_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        size = (tmp_path / "search.jsonl").stat().st_size
        limit(size + 40)  # half of the next line

    common = {"checkpoint_every": None, "tensorboard": False, "progress": False}
    with file_limit() as limit, pytest.raises(FileError, match=r"search.jsonl cannot be written"):
        small_trainer(tmp_path, callbacks=[At(5, fill)], **common).train()

    assert (tmp_path / "search.jsonl").read_bytes().endswith(b"}\n")
    state = load_latest(tmp_path / "checkpoints" / "search")
    assert state is not None and state["position"][2] == 4
    small_trainer(tmp_path, resume=True, callbacks=[At(99, None)], **common).train()
    steps = [r["step"] for r in read_jsonl(tmp_path / "search.jsonl") if r["phase"] == "train"]
    assert steps == list(range(1, 9))


def test_a_disk_that_is_full_at_a_checkpoint_keeps_the_one_before(tmp_path: Path) -> None:
    with file_limit() as limit, pytest.raises(FileError, match=r"step_6.ckpt cannot be written"):
        # Without log lines the next file that is written is the checkpoint.
        small_trainer(
            tmp_path,
            log_frequency=None,
            tensorboard=False,
            progress=False,
            callbacks=[At(6, lambda: limit(1000))],
        ).train()

    folder = tmp_path / "checkpoints" / "search"
    assert sorted(p.name for p in folder.iterdir()) == ["step_4.ckpt", "step_5.ckpt"]
    state = load_latest(folder)
    assert state is not None and state["position"][2] == 5


def test_a_line_that_did_not_fit_leaves_no_half(tmp_path: Path) -> None:
    append_line(tmp_path / "log", "first")
    with file_limit() as limit, pytest.raises(FileError, match="cannot be written"):
        limit(9)
        append_line(tmp_path / "log", "second")
    assert (tmp_path / "log").read_text() == "first\n"

    with (
        JsonlLog(tmp_path / "run.jsonl") as log,
        file_limit() as limit,
        pytest.raises(FileError, match="cannot be written"),
    ):
        limit(200)
        for step in range(20):
            log.write({"step": step})
    whole = read_jsonl(tmp_path / "run.jsonl")
    assert [r["step"] for r in whole] == list(range(len(whole))) and whole


def test_a_device_that_is_full_from_the_start_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "search.jsonl").symlink_to("/dev/full")

    with pytest.raises(FileError, match=r"search.jsonl cannot be written: No space left"):
        small_trainer(tmp_path).train()


@pytest.mark.parametrize("log_frequency", [1, None])
def test_a_folder_that_is_deleted_in_mid_run_is_not_made_anew(
    tmp_path: Path, log_frequency: int | None
) -> None:
    out = tmp_path / "run"
    delete = At(3, lambda: shutil.rmtree(out))

    with pytest.raises(FileError, match="was deleted"):
        small_trainer(out, callbacks=[delete], log_frequency=log_frequency).train()
    assert not out.exists()


def test_the_folder_of_another_run_stays_as_it_was(tmp_path: Path) -> None:
    small_trainer(tmp_path).train()
    before = snapshot(tmp_path)

    with pytest.raises(CheckpointError, match="belong"):
        small_trainer(tmp_path, candidates=3, resume=True).train()
    with pytest.raises(OptionError, match="earlier run"):
        small_trainer(tmp_path)
    assert snapshot(tmp_path) == before


@pytest.mark.processes
def test_two_runs_in_one_folder_are_one_clear_error(tmp_path: Path) -> None:
    seen: list[str] = []

    def second() -> None:
        code = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
            "from pathlib import Path; from tests.faults.small_run import small_trainer\n"
            "from nas_plugin.cli import guarded\n"
            f"run = lambda: small_trainer(Path({str(tmp_path)!r}), resume=True).train()\n"
            "sys.exit(guarded(run))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        seen.extend([str(done.returncode), done.stderr])

    small_trainer(tmp_path, callbacks=[At(3, second)]).train()

    assert seen[0] == "1"
    assert f"in use by process {os.getpid()}" in seen[1] and "Traceback" not in seen[1]
    steps = [r["step"] for r in read_jsonl(tmp_path / "search.jsonl") if r["phase"] == "train"]
    assert steps == list(range(1, 9))
    assert not list(tmp_path.rglob("*.lock"))


class Constant:
    def evaluate(self, proposal: object) -> Outcome:
        return Outcome({"default": 1.0})


def test_two_searches_in_one_log_are_one_clear_error(tmp_path: Path) -> None:
    space = SearchSpace([Choice("a", "layer", tuple("abcd"))])
    log = tmp_path / "trials.jsonl"
    caught: list[BaseException] = []

    def second(trial: object) -> None:
        try:
            search(space, GridSearch(space), Constant(), Budget(trials=4), log=log)
        except LockedError as error:
            caught.append(error)

    search(space, GridSearch(space), Constant(), Budget(trials=2), log=log, on_trial=second)

    assert len(caught) == 2 and str(log) in str(caught[0])
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == [
        "begin", "ask", "tell", "ask", "tell",
    ]  # fmt: skip


def test_a_log_that_is_deleted_in_mid_search_is_not_made_anew(tmp_path: Path) -> None:
    space = SearchSpace([Choice("a", "layer", tuple("abcd"))])
    log = tmp_path / "trials.jsonl"

    with pytest.raises(FileError, match="was deleted"):
        search(space, GridSearch(space), Constant(), Budget(trials=4), log=log,
               on_trial=lambda trial: log.unlink())  # fmt: skip
    assert not log.exists()


@pytest.mark.processes
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_file_as_out_is_one_error_and_stays(tmp_path: Path, script: str) -> None:
    (tmp_path / "file").write_text("precious")
    done = subprocess.run(
        [sys.executable, f"examples/{script}", "--out", str(tmp_path / "file")], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 2
    assert "is a file" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text() == "precious"


def test_what_the_system_refuses_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        with open("/dev/full", "w", buffering=1) as file:
            file.write("x\n")

    assert guarded(refuse) == 1
    assert "No space left on device" in capsys.readouterr().err
