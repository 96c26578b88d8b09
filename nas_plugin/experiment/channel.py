"""How a trial talks to the manager: asks for its parameters, reports its metrics.

The protocol is that of NNI 3.0's local and remote services (HTTP), spoken without importing nni,
which costs more than a second a trial; the older services go through nni's own channel.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
import urllib.parse
from collections.abc import Sequence
from typing import Any, Protocol

from nas_plugin.errors import ExperimentError

_TIMEOUT = 20.0
#: Seconds after a trial's beginning in which the manager may not know it yet.
_EARLY = 1.0
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
#: Those of an intermediate result, which is worth less waiting.
_FEW = (0.05, 0.2)


class Channel(Protocol):
    """One trial's connection to the manager."""

    def receive(self) -> dict[str, Any]:
        """Returns the record that the manager hands out: parameters and their id."""

    def send(self, metric: dict[str, Any]) -> None:
        """Delivers a metric.

        Raises:
            ExperimentError: If the manager did not take it.
        """


class HttpChannel:
    """The channel of NNI's local and remote services.

    Args:
        url: What ``NNI_TRIAL_COMMAND_CHANNEL`` says.
        trial: The trial's id.
        direct: Whether the manager itself listens there, and not a remote machine's keeper.
    """

    def __init__(self, url: str, trial: str, *, direct: bool) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ExperimentError(
                f"NNI_TRIAL_COMMAND_CHANNEL is '{url}', expected http://host:port/path. "
                "It is set by NNI; do not set it by hand."
            )
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path
        self._trial = trial
        self._began = time.monotonic()
        prefix = parts.path.partition("/env/")[0]
        self._stored = f"{prefix}/api/v1/nni/metric-data/{trial}?type=FINAL" if direct else None

    def receive(self) -> dict[str, Any]:
        if "nni" in sys.modules:
            # The script may report with nni's own functions, which want to have asked.
            return NniChannel().receive()
        self._put({"type": "request_parameter"})
        while True:
            status, body = self._request("GET", self._path)
            if status == 200:
                record = json.loads(json.loads(body)["parameter"])
                if not isinstance(record, dict) or "parameters" not in record:
                    raise ExperimentError(f"The manager sent no parameters but {record!r}.")
                return record
            if status != 408:  # 408: none yet
                raise ExperimentError(
                    f"The manager gave no parameters (HTTP {status}); the experiment has ended."
                )

    def send(self, metric: dict[str, Any]) -> None:
        command = {"type": "metric", "metric": json.dumps(metric, allow_nan=False)}
        if metric["type"] != "FINAL":
            self._put(command, _FEW)
            return
        if self._stored is None:
            time.sleep(max(0.0, self._began + _EARLY - time.monotonic()))
            self._put(command)
            return
        # The manager drops a final result that comes before it has noted the trial's start, and
        # answers 200 all the same: look whether it is there.
        for pause in _PAUSES:
            self._put(command)
            deadline = time.monotonic() + pause
            while time.monotonic() < deadline:
                if self._is_stored(self._stored):
                    return
                time.sleep(0.02)
        raise ExperimentError(
            f"The manager answered but did not store the final result of trial {self._trial}."
        )

    def _is_stored(self, path: str) -> bool:
        status, body = self._request("GET", path)
        return status == 200 and bool(json.loads(body))

    def _put(self, command: dict[str, Any], pauses: Sequence[float] | None = None) -> None:
        status, _ = self._request("PUT", self._path, json.dumps(command), pauses)
        if not 200 <= status < 300:
            raise ExperimentError(f"The manager refused a '{command['type']}' (HTTP {status}).")

    def _request(
        self,
        method: str,
        path: str,
        body: str | None = None,
        pauses: Sequence[float] | None = None,
    ) -> tuple[int, bytes]:
        """Sends a request, again after a pause when nobody listens."""
        for pause in (*(_PAUSES if pauses is None else pauses), None):
            connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
            try:
                headers = {"Content-Type": "application/json"} if body else {}
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                if pause is None:
                    raise ExperimentError(
                        f"Nobody answers at {self._host}:{self._port} ({error}). The manager of "
                        "this experiment has ended; `nas-plugin experiment resume` starts another."
                    ) from error
                time.sleep(pause)
            finally:
                connection.close()
        raise AssertionError  # the last pause is None


class NniChannel:
    """nni's own channel, which knows the services of before 3.0 (Kubernetes, hybrid)."""

    def receive(self) -> dict[str, Any]:
        import nni
        import nni.trial

        nni.get_next_parameter()
        # What nni keeps for its own report functions: a script may mix them with ours.
        record = nni.trial._params
        if not isinstance(record, dict):
            raise ExperimentError("NNI gave this trial no parameters; the experiment has ended.")
        return dict(record)

    def send(self, metric: dict[str, Any]) -> None:
        from nni.runtime.trial_command_channel import get_default_trial_command_channel

        channel: Any = get_default_trial_command_channel()
        channel._send(json.dumps(metric, allow_nan=False))
