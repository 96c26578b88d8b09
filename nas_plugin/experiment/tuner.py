"""Any strategy of nas_plugin as a tuner of NNI."""

from __future__ import annotations

import base64
import json
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from nni.runtime.msg_dispatcher import MsgDispatcher
from nni.runtime.tuner_command_channel import CommandType

from nas_plugin.errors import ExperimentError, NasError
from nas_plugin.experiment.coordinator import Coordinator, Job
from nas_plugin.experiment.guard import ADVICE, UNSURE_ROWS, guard_address, rows_are_exact
from nas_plugin.experiment.journal import Journal, journal_path
from nas_plugin.experiment.local_evidence import LocalEvidence
from nas_plugin.experiment.manager_api import ManagerApi, ManagerGoneError
from nas_plugin.experiment.proposer import check_whole
from nas_plugin.experiment.session import Session
from nas_plugin.experiment.space_format import ROW, UNSURE, from_nni
from nas_plugin.experiment.trial_limit import TrialLimit

_logger = logging.getLogger(__name__)
_TICK = 1.0
#: How often in a row the manager may be silent.
_PATIENCE = 30
_SNAPSHOT_EVERY = 20


class NasTuner(MsgDispatcher):  # type: ignore[misc]  # nni has no types
    """Offers a strategy to NNI, and keeps the journal of what became of its proposals.

    In YAML: ``tuner: {className: nas_plugin.experiment.NasTuner, classArgs: {strategy: …}}``.
    NNI knows two kinds of tuners; this is the one that serves the manager's messages itself,
    because the other learns neither which trial has ended nor in which order.

    Args:
        strategy: The name of a strategy.
        seed: Seed of the strategy.
        retries: How often an architecture is tried again when its trial failed or was killed.
        options: The strategy's own arguments.
    """

    def __init__(
        self,
        strategy: str = "regularized_evolution",
        *,
        seed: int = 0,
        retries: int = 2,
        **options: Any,
    ) -> None:
        channel = os.environ.get("NNI_TUNER_COMMAND_CHANNEL", "")
        super().__init__(channel or None, None, None)
        self._api = ManagerApi(channel.replace("ws://", "http://", 1).rpartition("/tuner")[0])
        self._inbox: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self._manager = _manager_process()
        self._resumed = os.environ.get("NNI_MODE") == "resume"
        self._owed = 0
        self._silence = 0
        self._ends = 0
        self._experiment = Path(os.environ["NNI_LOG_DIRECTORY"]).parent
        self._coordinator: Coordinator | None = None
        self._journal = self._guarded(lambda: Journal(journal_path(self._experiment)))
        self._settings = {"strategy": strategy, "seed": seed, "options": options}
        self._retries = retries
        self._guarded(self._configure)

    def run(self) -> None:
        """Serves the manager until it says that the experiment has ended."""
        threading.Thread(target=self._receive, daemon=True).start()
        self._guarded(self._serve_messages)
        self._journal.append("stop")
        self._journal.close()
        self._channel.disconnect()

    def enqueue_command(self, command: Any, data: Any) -> None:
        """Keeps all messages in one queue: a result comes before the end of its trial."""
        self._inbox.put((command, data))

    def handle_initialize(self, data: dict[str, Any]) -> None:
        """Begins or resumes the search in the given space."""
        space = from_nni(data)
        session = Session(self._settings, data)
        session.check(self._journal.events, resumed=self._resumed)
        strategy = session.make_strategy(space)
        self._coordinator = Coordinator(self._journal, space, strategy, retries=self._retries)
        session.begin(self._journal, resumed=self._resumed)
        self._budget = TrialLimit(self._api, self._journal)
        self._budget.read()
        self._keep_budget()
        if guard_address() is None:
            _logger.warning(ADVICE)
        if not rows_are_exact():
            _logger.warning(UNSURE_ROWS)
        self.send(CommandType.Initialized, "")

    def handle_request_trial_jobs(self, data: int) -> None:
        """Notes that `data` trials could start, and hands out what there is to run."""
        self._owed += data
        self._hand_out()

    def handle_update_search_space(self, data: Any) -> None:
        """Refuses another space: the strategy's state belongs to the one it began with."""
        _logger.error("The search space of a running search cannot change; the change is ignored.")

    def handle_import_data(self, data: list[Any]) -> None:
        """Ignores NNI's own records of trials; the journal is right where they are not."""
        if not self._resumed:
            _logger.warning("%d imported trials are ignored: no strategy takes them.", len(data))

    def handle_add_customized_trial(self, data: Any) -> None:
        """Takes over the trials that the manager runs again after a crash."""
        records = data if isinstance(data, list) else [data]
        running = [
            (record["parameter_id"], record.get("parameter_index", 0))
            for record in records
            if isinstance(record.get("parameter_id"), int)
        ]
        self._search.recovered(running, self._local.kept() if self._resumed else ())
        self._owed -= len(running)

    def handle_report_metric_data(self, data: dict[str, Any]) -> None:
        """Notes what a trial reports, under the parameters that the trial says it has."""
        trial, parameter = data["trial_job_id"], data["parameter_id"]
        ours = data.get("nas_plugin") or {}
        attempt = ours.get("attempt")
        if attempt is None:  # reported by nni's own function
            claim = LocalEvidence(self._experiment).claim(trial) or {}
            attempt = claim.get("attempt", 0)
        if data["type"] == "FINAL":
            value = _metric(data["value"])
            self._search.result(trial, parameter, attempt, value, ours.get("architecture"))
            return
        self._search.claim(trial, parameter, attempt)
        if data["type"] == "PERIODICAL" and self.assessor is not None:
            self._handle_intermediate_metric_data({**data, "value": _metric(data["value"])})

    def handle_trial_end(self, data: dict[str, Any]) -> None:
        """Notes a trial's end and hands out the next."""
        trial = data["trial_job_id"]
        if self.assessor is not None:
            super().handle_trial_end(data)
        asked = True
        if trial not in self._search.claims:
            claim = self._local.claim(trial)
            if claim is None:
                claim, asked = self._local.given(trial), False
            if claim is not None:
                self._search.claim(trial, claim["parameter"], claim["attempt"])
        if not self._search.has_result(trial):
            self._take_kept_result(trial)
        evidence, words = self._local.of(trial, data["event"]), self._local.last_words(trial)
        if evidence.status != "SUCCEEDED" and not evidence.message and words:
            evidence = replace(evidence, message=words.splitlines()[-1])
        self._search.end(trial, evidence, asked=asked, words=words)
        self._ends += 1
        if self._ends % _SNAPSHOT_EVERY == 0:
            self._search.save()
        self._hand_out()

    @property
    def _search(self) -> Coordinator:
        if self._coordinator is None:
            raise ExperimentError("The manager sent trials before the search space.")
        return self._coordinator

    def _configure(self) -> None:
        check_whole("retries", self._retries)
        check_whole("seed", self._settings["seed"])
        self._local = LocalEvidence(self._experiment)
        self.assessor = _configured_assessor()

    def _receive(self) -> None:
        """Moves messages from the manager to the inbox."""
        try:
            while True:
                command, content = self._channel._receive()
                self._inbox.put((command, _plain(content) if content else None))
                if command in (None, CommandType.Terminate):
                    return
        except Exception as error:
            self._inbox.put((None, error))

    def _serve_messages(self) -> None:
        next_tick = time.monotonic() + _TICK
        while True:
            try:
                command, data = self._inbox.get(timeout=_TICK)
            except queue.Empty:
                pass
            else:
                if command is None:
                    raise ExperimentError(f"The connection to the manager has ended: {data}.")
                if command is CommandType.Terminate:
                    return
                self._unless_gone(partial(self.process_command, command, data))
            if time.monotonic() >= next_tick:
                self._unless_gone(self._tick)
                next_tick = time.monotonic() + _TICK

    def _unless_gone(self, step: Callable[[], None]) -> None:
        """Runs a step that asks the manager, which closes its door before it says goodbye."""
        if self._manager is not None and not self._manager.is_running():
            # NNI would wait for ten seconds, and take the socket of a manager that is resumed.
            self._journal.append("orphaned")
            raise SystemExit("The manager has died; so does its tuner.")
        try:
            step()
        except ManagerGoneError:
            self._silence += 1
            if self._silence > _PATIENCE:
                raise
        else:
            self._silence = 0

    def _tick(self) -> None:
        if self._coordinator is not None:
            for claim in self._local.claims(set(self._coordinator.claims)):
                self._coordinator.claim(claim["trial"], claim["parameter"], claim["attempt"])
            self._budget.read()
            self._hand_out()

    def _hand_out(self) -> None:
        while self._owed > 0:
            job = self._search.next_job(self._budget.wanted)
            if job is None:
                break
            self._owed -= 1
            self._send_job(job)
        self._keep_budget()

    def _keep_budget(self) -> None:
        search = self._search
        wanted = self._budget.wanted
        finished = search.exhausted or (wanted is not None and search.asked >= wanted)
        done = finished and not search.open and search.living <= 0
        self._budget.keep(asked=search.asked, jobs=search.jobs, done=done)

    def _send_job(self, job: Job) -> None:
        mark = {} if rows_are_exact() else {ROW: UNSURE}
        record = {
            "parameter_id": job.parameter,
            "parameter_source": "algorithm",
            "parameters": {**job.parameters, **mark},
            "parameter_index": job.attempt,
        }
        self.send(CommandType.NewTrialJob, json.dumps(record))

    def _take_kept_result(self, trial: str) -> None:
        """Takes from the disk a result that did not come through the manager."""
        kept = self._local.result(trial)
        claim = self._search.claims.get(trial)
        if kept is None or claim != (kept.get("parameter"), kept.get("attempt")):
            return
        if "refused" in kept:
            self._search.refused(trial, kept["refused"], kept["message"])
        else:
            self._search.result(trial, *claim, kept["metrics"], kept["architecture"])

    def _guarded(self, step: Any) -> Any:
        """Runs a step; a mistake ends the experiment with its text, not in silence."""
        try:
            return step()
        except Exception as error:
            shown = str(error) if isinstance(error, NasError) else traceback.format_exc()
            _logger.error("The tuner has failed. %s", shown)
            journal = getattr(self, "_journal", None)
            if journal is not None:
                journal.append("error", message=shown)
            self.report_error(shown)
            raise


def _plain(content: str) -> Any:
    """Returns a message of the manager; what is no number in JSON comes as text."""
    return json.loads(content, parse_constant=str)


def _metric(value: Any) -> Any:
    """Returns the metric that NNI packs as JSON text; whatever else it is stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _configured_assessor() -> Any:
    """Returns the experiment's assessor, which NNI leaves to a tuner that serves itself."""
    if "--exp_params" not in sys.argv:
        return None
    encoded = sys.argv[sys.argv.index("--exp_params") + 1]
    configured = json.loads(base64.b64decode(encoded)).get("assessor")
    if not configured:
        return None
    from nni.tools.package_utils import create_builtin_class_instance as builtin
    from nni.tools.package_utils import create_customized_class_instance as custom

    if configured.get("name"):
        return builtin(configured["name"], configured.get("classArgs"), "assessors")
    return custom(configured)


def _manager_process() -> psutil.Process | None:
    """Returns NNI's manager, an ancestor of this process; None in a test."""
    for ancestor in psutil.Process().parents():
        if ancestor.name().startswith("node"):
            return ancestor
    return None
