"""A trial's side: take the proposed architecture, report what it is worth."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from nas_plugin.errors import ExperimentError, NasError
from nas_plugin.experiment import trial_files
from nas_plugin.experiment.channel import Channel, HttpChannel, NniChannel
from nas_plugin.experiment.events import EventWriter
from nas_plugin.experiment.metrics import MetricError, Reported, parse_metrics
from nas_plugin.experiment.space_format import FIDELITY


class CurrentTrial:
    """This process as a trial of an NNI experiment, or as a script run by hand.

    Args:
        environment: The environment variables; NNI's say whether this is a trial.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        #: The trial's id, None when run by hand.
        self.id = environment.get("NNI_TRIAL_JOB_ID")
        output = environment.get("NNI_OUTPUT_DIR") if self.id else None
        #: The trial's folder, None when run by hand.
        self.folder = Path(output).resolve() if output else None
        self._platform = environment.get("NNI_PLATFORM", "")
        self._url = environment.get("NNI_TRIAL_COMMAND_CHANNEL", "")
        self._channel: Channel | None = None
        self._record: dict[str, Any] | None = None
        self._architecture: Mapping[str, Any] | None = None
        self._writer: EventWriter | None = None
        self._step = 0
        #: What failed for an intermediate result: "sent" or "written".
        self._unable: set[str] = set()

    @property
    def managed(self) -> bool:
        """Whether NNI runs this process."""
        return self.id is not None

    def parameters(self) -> Mapping[str, Any]:
        """Returns what the tuner proposed for this trial; asks the manager once.

        A trial that is run again after a crash, and had its result before it, reports that
        result and ends the process.

        Raises:
            ExperimentError: If this is no trial or the manager gives nothing.
        """
        if self._record is None:
            self._record = self._claim()
        parameters = self._record["parameters"]
        if not isinstance(parameters, Mapping):
            raise ExperimentError(f"The tuner proposed {parameters!r}, expected keys and choices.")
        return parameters

    def runs(self, architecture: Mapping[str, Any]) -> None:
        """States the architecture (plain JSON) that this trial runs."""
        self._architecture = architecture
        if self.folder is not None:
            text = json.dumps(architecture, indent=2, sort_keys=True) + "\n"
            (self.folder / "architecture.json").write_text(text, encoding="utf-8")

    def report_intermediate(self, metrics: Any) -> None:
        """Reports a point of the training curve; see `report_intermediate`."""
        if self.managed:
            self._claimed()
        step, self._step = self._step, self._step + 1
        try:
            parsed = parse_metrics(metrics)
        except MetricError as error:
            _warn(f"Intermediate result {step} is left out. {error}")
            return
        # A point of the curve is worth less than the trial: what goes wrong is said, once a kind.
        self._try("sent", step, lambda: self._send("PERIODICAL", parsed, step))
        self._try("written", step, lambda: self._note("intermediate", parsed, step))

    def _try(self, part: str, step: int, action: Callable[[], None]) -> None:
        if part in self._unable:
            return
        try:
            action()
        except Exception as error:
            self._unable.add(part)
            _warn(
                f"Intermediate result {step} cannot be {part}, nor are the next: {error} "
                "The trial continues."
            )

    def report_final(self, metrics: Any) -> None:
        """Reports the trial's result; see `report_final`."""
        parsed = self._parse(metrics)
        kept = False
        if self.folder is not None:
            record = self._claimed() | {"metrics": parsed, "architecture": self._architecture}
            try:
                trial_files.write_record(self.folder, trial_files.RESULT, record)
                self._note("final", parsed, self._step)
                kept = True
            except (NasError, OSError) as error:  # a full disk: the manager still takes it
                _warn(f"The result cannot be kept in {self.folder}: {error}")
        self._send_final(parsed, kept=kept)

    def tensorboard_folder(self) -> Path | None:
        """Returns the folder whose events the portal's TensorBoard button shows."""
        return self.folder / "tensorboard" if self.folder is not None else None

    def _claim(self) -> dict[str, Any]:
        if not self.managed:
            raise ExperimentError(
                "This process is no trial: NNI_TRIAL_JOB_ID is not set. Start it with "
                "`nas-plugin experiment create`, or read no parameters when run by hand."
            )
        record = self._connection().receive()
        self._record = record
        if self.folder is not None:
            previous = trial_files.read_record(self.folder, trial_files.RESULT)
            claim = self._claimed() | {"pid": os.getpid(), "time": time.time()}
            trial_files.write_record(self.folder, trial_files.CLAIM, claim)
            self._link()
            _keep_exception(self.folder)
            if previous is not None and _is_result_of(previous, claim):
                self._architecture = previous["architecture"]
                self._send_final(previous["metrics"], kept=True)
                raise SystemExit(0)
        return record

    def _claimed(self) -> dict[str, Any]:
        if self._record is None:
            raise ExperimentError(
                "This trial reports before it asked for an architecture. Call "
                "get_and_apply_next_architecture first."
            )
        return {
            "trial": self.id,
            "parameter": self._record.get("parameter_id"),
            "attempt": self._record.get("parameter_index", 0),
        }

    def _connection(self) -> Channel:
        if self._channel is None:
            if self._url:
                direct = self._platform == "local"
                self._channel = HttpChannel(self._url, str(self.id), direct=direct)
            else:
                self._channel = NniChannel()
        return self._channel

    def _parse(self, metrics: Any) -> Reported:
        try:
            return parse_metrics(metrics)
        except MetricError as error:
            if self.folder is not None:
                record = self._claimed() | {"refused": error.reason, "message": str(error)}
                trial_files.write_record(self.folder, trial_files.RESULT, record)
            raise

    def _send_final(self, metrics: Reported, *, kept: bool) -> None:
        try:
            self._send("FINAL", metrics, 0)
        except ExperimentError as error:
            if not kept:
                raise
            # The tuner takes the result from the file when it resumes or hears of the end.
            _warn(f"{error} The result is kept in {self.folder}.")

    def _send(self, kind: str, metrics: Reported, sequence: int) -> None:
        if not self.managed:
            shown = " ".join(f"{name}={value:.6g}" for name, value in metrics.items())
            _print(f"{'final' if kind == 'FINAL' else 'intermediate'} result: {shown}")
            return
        claimed = self._claimed()
        # One plain number is what every tuner and assessor of NNI understands.
        value = metrics if len(metrics) > 1 else metrics["default"]
        self._connection().send(
            {
                "parameter_id": claimed["parameter"],
                "trial_job_id": self.id,
                "type": kind,
                "sequence": sequence,
                "value": json.dumps(value),
                "nas_plugin": {
                    "attempt": claimed["attempt"],
                    "architecture": self._architecture,
                },
            }
        )

    def _note(self, kind: str, metrics: Reported, step: int) -> None:
        """Writes a metric into the trial's folder, as a line and as TensorBoard events."""
        if self.folder is None:
            return
        line = json.dumps({"time": time.time(), "kind": kind, "step": step, **metrics})
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if self._writer is None:
            self._writer = EventWriter(self.folder / "tensorboard")
        self._writer.write(metrics, step, prefix="final/" if kind == "final" else "")

    def _link(self) -> None:
        """Makes the portal's TensorBoard button find this folder: it looks in another place."""
        if self.folder is None or self._platform != "local":
            return
        (self.folder / "tensorboard").mkdir(exist_ok=True)
        link = self.folder.parents[3] / "trials" / self.folder.name / "output"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink() and not link.exists():
            link.symlink_to(self.folder, target_is_directory=True)


@functools.cache
def current_trial() -> CurrentTrial:
    """Returns this process's trial; a process is one trial or none."""
    return CurrentTrial(os.environ)


def report_intermediate(metrics: Any) -> None:
    """Reports a point of the training curve, for example an epoch's accuracy.

    Never ends the trial: a value that is no finite number is left out, and a manager that does not
    answer or a full disk ends the curve; each is said on standard error.

    Args:
        metrics: A number, or a dict of numbers with the key ``default``.

    Raises:
        ExperimentError: If the trial has not asked for its architecture yet.
    """
    current_trial().report_intermediate(metrics)


def report_final(metrics: Any) -> None:
    """Reports the trial's result.

    The result is on disk before it is sent, sent again until the manager has it, and taken from
    the disk if the manager has gone.

    Args:
        metrics: A number, or a dict of numbers with the key ``default`` (what the search
            compares) and any others (``params``, ``flops``, ``latency_ms``), which become axes
            of the portal.

    Raises:
        MetricError: If a value is no finite number.
    """
    current_trial().report_final(metrics)


def tensorboard_folder() -> Path | None:
    """Returns where this trial's own TensorBoard events belong; None when run by hand."""
    return current_trial().tensorboard_folder()


def fidelity() -> float | None:
    """Returns how much this trial is to train, in the strategy's unit (epochs, a fraction).

    None where the strategy does not say, and by hand: train in full.

    Raises:
        ExperimentError: If the manager cannot be reached.
    """
    trial = current_trial()
    return trial.parameters().get(FIDELITY) if trial.managed else None


def _warn(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # The reader has left (`python train.py | head`); so that the interpreter's last flush
        # does not fail as well, what follows is written nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_result_of(record: dict[str, Any], claim: dict[str, Any]) -> bool:
    same = ("trial", "parameter", "attempt")
    return "metrics" in record and all(record.get(name) == claim[name] for name in same)


def _keep_exception(folder: Path) -> None:
    """Keeps the exception that ends the trial, so that the journal can say why it failed."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        record = {"type": kind.__name__, "message": str(error)[:2000]}
        trial_files.write_record(folder, trial_files.ERROR, record)
        previous(kind, error, trace)

    sys.excepthook = hook
