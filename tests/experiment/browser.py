"""A browser for tests: the WebDriver protocol over HTTP, and nothing else."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def installed() -> bool:
    """Says whether Chromium and its driver are there."""
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """Headless Chromium, ended by `close`."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._profile = tempfile.mkdtemp()
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={self._port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        options = {
            "goog:chromeOptions": {"args": [*_FLAGS, f"--user-data-dir={self._profile}"]},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        wanted = {"capabilities": {"alwaysMatch": options}}
        for _ in range(100):
            try:
                self._session = self._call("POST", "/session", wanted)["sessionId"]
                return
            except ConnectionRefusedError:
                time.sleep(0.1)
        raise RuntimeError("chromedriver does not answer")

    def open(self, url: str) -> None:
        """Opens a page, again while it stays blank.

        NNI's portal draws nothing before its first requests are answered, and sends them once:
        when one is lost, the page is white until it is loaded again.
        """
        for _ in range(4):
            self._do("POST", "/url", {"url": url})
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                if self.text().strip():
                    return
                time.sleep(0.2)
        log = self._do("POST", "/se/log", {"type": "browser"})
        raise AssertionError(f"{url} stays blank; the browser says: {log}")

    def text(self) -> str:
        return str(self.script("return document.body.innerText"))

    def script(self, source: str) -> Any:
        return self._do("POST", "/execute/sync", {"script": source, "args": []})

    def click(self, xpath: str) -> None:
        found = self._do("POST", "/element", {"using": "xpath", "value": xpath})
        self._do("POST", f"/element/{found[_ELEMENT]}/click", {})

    def wait_for(self, text: str, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.text():
            assert time.monotonic() < deadline, f"'{text}' never came; page: {self.text()[:2000]}"
            time.sleep(0.2)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._do("GET", "/screenshot")))

    def close(self) -> None:
        try:
            self._do("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait()
            shutil.rmtree(self._profile, ignore_errors=True)

    def _do(self, method: str, path: str, body: Any = None) -> Any:
        return self._call(method, f"/session/{self._session}{path}", body)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"{method} {path}: {answer['message']}")
        return answer
