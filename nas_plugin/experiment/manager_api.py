"""What nas_plugin asks of a running manager, over its REST interface."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from typing import Any

from nas_plugin.errors import ExperimentError

_TIMEOUT = 20.0


class ManagerGoneError(ExperimentError):
    """Nobody answers where the manager was."""


class ManagerApi:
    """The REST interface of one manager.

    Args:
        url: ``http://host:port`` or the same with a prefix.
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if not parts.hostname or not parts.port:
            raise ExperimentError(f"'{url}' is not the address of a manager (http://host:port).")
        self._host, self._port = parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/") + "/api/v1/nni"

    def status(self) -> tuple[str, list[str]]:
        """Returns the experiment's status (``RUNNING``, ``DONE``, ``ERROR``, …) and its errors."""
        answer = self._request("GET", "/check-status")
        if not isinstance(answer, dict):
            return str(answer or "INITIALIZING"), []
        return str(answer["status"]), [str(error) for error in answer.get("errors", [])]

    def begin(self, configuration: Any, timeout: float) -> None:
        """Gives a new manager its experiment; returns when the tuner's process was started."""
        self._request("POST", "/experiment", configuration, timeout)

    def profile(self) -> dict[str, Any]:
        """Returns the experiment's profile; ``params`` holds its configuration."""
        profile: dict[str, Any] = self._request("GET", "/experiment")
        return profile

    def submitted(self) -> int:
        """Returns how many trials the manager has started."""
        return sum(self.counts().values())

    def counts(self) -> dict[str, int]:
        """Returns status -> how many trials have it."""
        statistics = self._request("GET", "/job-statistics")
        return {str(e["trialJobStatus"]): int(e["trialJobNumber"]) for e in statistics}

    def trials(self) -> list[dict[str, Any]]:
        """Returns the manager's view of all trials."""
        trials: list[dict[str, Any]] = self._request("GET", "/trial-jobs")
        return trials

    def set_max_trials(self, number: int) -> None:
        """Changes the number of trials after which the manager is done."""
        body = {"params": {"maxTrialNumber": number}}
        self._request("PUT", "/experiment?update_type=MAX_TRIAL_NUM", body)

    def stop(self) -> None:
        """Asks the manager to end its trials and itself."""
        self._request("DELETE", "/experiment")

    def _request(self, method: str, path: str, body: Any = None, timeout: float = _TIMEOUT) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            text = json.dumps(body) if body is not None else None
            connection.request(method, self._prefix + path, text, headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ManagerGoneError(
                f"No manager answers at {self._host}:{self._port} ({error})."
            ) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise ExperimentError(
                f"The manager answered {method} {path} with HTTP {response.status}: "
                f"{answer[:200].decode(errors='replace')}"
            )
        try:
            return json.loads(answer) if answer else None
        except ValueError:  # "INITIALIZING" comes as plain text
            return answer.decode(errors="replace")
