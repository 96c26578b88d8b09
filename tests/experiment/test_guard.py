"""The guard alone, before a small server; the portal of a real experiment is in test_portal."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from nas_plugin.errors import OptionError
from nas_plugin.experiment.guard import guard_environment, guard_option

nni_node = pytest.importorskip("nni_node")
NODE = str(Path(nni_node.__path__[0]) / "node")
SERVER = """
const http = require('node:http');
const server = http.createServer((request, response) => {
  const seen = [process.env.NODE_OPTIONS ?? null, process.env.NAS_PLUGIN_GUARD ?? null];
  response.end(JSON.stringify(seen));
});
server.on('upgrade', (request, socket) => { socket.end('HTTP/1.1 101 Fine\\r\\n\\r\\n'); });
LISTEN
server.on('listening', () => { console.log(JSON.stringify(server.address())); });
"""


def start(environment, listen="server.listen(0);"):
    process = subprocess.Popen(
        [NODE, "-e", SERVER.replace("LISTEN", listen)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return process, json.loads(process.stdout.readline())


def end(process):
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def port():
    process, address = start(guard_environment())
    assert address["address"] == "127.0.0.1"
    yield address["port"]
    end(process)


def ask(port, path="/", method="GET", headers=None, body=None, host=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", f"localhost:{port}" if host is None else host)
    for name, value in (headers or {}).items():
        connection.putheader(name, value.replace("PORT", str(port)))
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body.encode() if body is not None else None)
    response = connection.getresponse()
    status, text = response.status, response.read().decode()
    connection.close()
    return status, text


def test_own_requests_pass_and_children_do_not_load_the_guard(port):
    assert ask(port) == (200, json.dumps([None, "127.0.0.1"], separators=(",", ":")))
    for headers in (
        {"Origin": "http://localhost:PORT"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ):
        assert ask(port, "/api/v1/nni/experiment?x=1", headers=headers)[0] == 200
    for host in (f"127.0.0.1:{port}", f"[::1]:{port}", "LOCALHOST"):
        assert ask(port, host=host)[0] == 200
    json_post = {"Content-Type": "application/json;charset=utf-8"}
    assert ask(port, method="POST", headers=json_post, body="{}")[0] == 200
    assert ask(port, method="DELETE")[0] == 200


@pytest.mark.parametrize(
    "request_",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:80"},
        {"host": "evil@localhost"},
        {"host": ""},
        {"host": "10.0.0.7"},
        {"headers": {"Origin": "http://evil.example"}},
        {"headers": {"Origin": "null"}},
        {"headers": {"Origin": "http://localhost:1"}},
        {"headers": {"Origin": "http://localhost:PORT.evil.example"}},
        {"headers": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}},
        {"method": "POST", "headers": {"Content-Type": "text/plain"}, "body": "{}"},
        {"method": "POST", "headers": {"Content-Type": "multipart/form-data"}, "body": "{}"},
        {"method": "POST", "body": "{}"},
        {"method": "POST"},
        {"method": "PUT", "headers": {"Content-Type": "text/plain"}, "body": "{}"},
        {"path": "/api/v1/nni/trial-file/abc/..%2f..%2fsecret"},
        {"path": "/api/v1/nni/trial-file/abc/..%2F..%2Fsecret"},
        {"path": "/api/v1/nni/trial-file/abc/%2e%2e%5csecret"},
        {"path": "/logs/../secret"},
        {"path": "/logs/%2e%2e/secret"},
        {"path": "/logs/%252e%252e%252fsecret"},
        {"path": "/logs/a%00b"},
        {"path": "/logs/%zz"},
        {"path": "http://localhost/absolute"},
    ],
    ids=str,
)
def test_an_attack_is_refused(port, request_):
    status, text = ask(port, **request_)
    assert status == 403 or (status == 400 and request_.get("host") == "")
    assert status == 400 or "refused" in text


def test_a_web_socket_of_a_foreign_page_is_refused(port):
    def upgrade(origin):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(
                f"GET /tuner HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: Upgrade\r\n"
                f"Upgrade: websocket\r\n{origin}\r\n".encode()
            )
            return connection.recv(100).decode().split("\r\n")[0]

    assert upgrade("") == "HTTP/1.1 101 Fine"
    assert upgrade("Origin: http://evil.example\r\n") == "HTTP/1.1 403 Forbidden"


@pytest.mark.parametrize(
    "listen",
    [
        "server.listen(0, () => {});",
        "server.listen(0, '0.0.0.0');",
        "server.listen({port: 0, host: '::'});",
        "server.listen(0, undefined, 5);",
        "server.listen('0');",
    ],
)
def test_every_way_of_listening_ends_on_the_loopback_address(listen):
    process, address = start(guard_environment(), listen)
    end(process)
    assert address["address"] == "127.0.0.1"


def test_an_opened_portal_answers_its_addresses_and_given_names_only():
    process, address = start(guard_environment("0.0.0.0", ["head-node"]))
    try:
        assert address["address"] == "0.0.0.0"
        assert ask(address["port"], host="10.0.0.7:8080")[0] == 200
        assert ask(address["port"], host="head-node:8080")[0] == 200
        assert ask(address["port"], host="evil.example")[0] == 403
    finally:
        end(process)


def test_names_without_an_open_portal_are_an_error():
    with pytest.raises(OptionError, match="listen"):
        guard_environment(None, ["head-node"])


def test_the_option_survives_blanks_in_the_path(monkeypatch):
    assert guard_option().endswith("guard.js")
    monkeypatch.setattr("nas_plugin.experiment.guard.__file__", "/a b/guard.py")
    assert guard_option() == '--require "/a b/guard.js"'
