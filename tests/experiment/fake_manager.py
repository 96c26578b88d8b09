"""NNI's manager as a trial sees it: hands out one record, takes metrics, and can misbehave."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeManager:
    """Serves one trial on a free port.

    Args:
        record: What it hands out.
        drops: So many final results are answered 200 and forgotten, as NNI does to early ones.
        refuses: So many requests are answered 500.
    """

    def __init__(self, record, *, drops=0, refuses=0):
        self.metrics = []
        self.requests = 0
        self.drops, self.refuses = drops, refuses
        manager = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, status, value=None):
                body = b"" if value is None else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_PUT(self):
                length = int(self.headers["Content-Length"])
                command = json.loads(self.rfile.read(length))
                if manager.refuses:
                    manager.refuses -= 1
                    return self.answer(500)
                if command["type"] == "request_parameter":
                    manager.requests += 1
                    return self.answer(200)
                metric = json.loads(command["metric"])
                if metric["type"] == "FINAL" and manager.drops:
                    manager.drops -= 1
                else:
                    manager.metrics.append(metric)
                return self.answer(200)

            def do_GET(self):
                if "/metric-data/" in self.path:
                    finals = [m for m in manager.metrics if m["type"] == "FINAL"]
                    return self.answer(200, finals)
                if not manager.requests:
                    return self.answer(408)
                return self.answer(200, {"type": "parameter", "parameter": json.dumps(record)})

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    def environment(self, experiment, trial="T0", platform="local"):
        """Returns what NNI sets for a trial."""
        output = experiment / "environments" / "local-env" / "trials" / trial
        output.mkdir(parents=True, exist_ok=True)
        return {
            "NNI_PLATFORM": platform,
            "NNI_TRIAL_JOB_ID": trial,
            "NNI_EXP_ID": experiment.name,
            "NNI_OUTPUT_DIR": str(output),
            "NNI_TRIAL_COMMAND_CHANNEL": f"http://127.0.0.1:{self.port}/env/local-env/{trial}",
        }

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
