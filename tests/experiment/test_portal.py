"""A real experiment under the guard: all of it works, and none of the attacks does."""

from __future__ import annotations

import csv
import http.client
import json
import socket
import time

import psutil
import pytest

from nas_plugin.experiment.database import database_parameters
from nas_plugin.experiment.journal import journal_path, read_journal
from nas_plugin.experiment.results import rows
from nas_plugin.strategies import Outcome, strategies
from tests.experiment import browser
from tests.experiment.scripts.light import SPACE, score

pytestmark = pytest.mark.processes
API = "/api/v1/nni"


def ask(light, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", light.port, timeout=20)
    connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def table(light):
    return rows(read_journal(journal_path(light.folder)))


def test_twelve_trials_run_to_done_and_every_row_is_right(light):
    found = table(light)
    assert [row.outcome for row in found] == ["succeeded"] * 12
    assert sorted(row.parameter for row in found) == list(range(12))
    for row in found:
        assert row.metrics["default"] == pytest.approx(score(row.architecture))
        assert row.exit_code == 0 and row.seconds > 0
    assert "done: 12 succeeded" in light.printed


def test_the_journals_questions_and_answers_give_the_same_proposals_in_process(light):
    events = list(read_journal(journal_path(light.folder)))
    options = next(e for e in events if e["event"] == "session")["options"]
    strategy = strategies.get("regularized_evolution")(SPACE, seed=3, **options)
    asked = 0
    for event in events:
        if event["event"] == "ask":
            assert strategy.ask().architecture.to_json() == event["architecture"]
            asked += 1
        elif event["event"] == "tell":
            strategy.tell(event["parameter"], Outcome(metrics=event["metrics"]))
    assert asked == 12


def test_the_portal_answers_and_says_done(light):
    assert json.loads(ask(light, "GET", f"{API}/check-status")[1]) == {
        "status": "DONE",
        "errors": [],
    }
    assert json.loads(ask(light, "GET", f"{API}/experiment")[1])["params"]["maxTrialNumber"] == 12
    assert ask(light, "GET", "/oview")[0] == 200
    trial = table(light)[0].trial
    assert ask(light, "GET", f"{API}/trial-file/{trial}/stderr")[0] == 200


def test_every_attack_on_the_portal_is_refused(light):
    trial = table(light)[0].trial
    climb = f"{API}/trial-file/{trial}/" + "..%2f" * 12 + "etc%2fpasswd"
    assert ask(light, "GET", climb)[0] == 403
    assert ask(light, "GET", "/logs/..%2f..%2f..%2fetc%2fpasswd")[0] == 403
    assert ask(light, "GET", f"{API}/experiment", Host="evil.example")[0] == 403
    assert ask(light, "GET", f"{API}/experiment", Origin="http://evil.example")[0] == 403
    params = json.dumps({"params": {"maxTrialNumber": 99}})
    update = f"{API}/experiment?update_type=MAX_TRIAL_NUM"
    assert ask(light, "PUT", update, params, Content_Type="text/plain")[0] == 403
    assert ask(light, "POST", f"{API}/trial-jobs", "{}", Content_Type="text/plain")[0] == 403
    foreign = {"Content_Type": "application/json", "Origin": "http://evil.example"}
    assert ask(light, "POST", f"{API}/trial-jobs", "{}", **foreign)[0] == 403
    assert ask(light, "DELETE", f"{API}/experiment", Origin="http://evil.example")[0] == 403
    for path in ("/tuner", "/platform/remote"):
        handshake = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        assert ask(light, "GET", path, Origin="http://evil.example", **handshake)[0] == 403
    assert json.loads(ask(light, "GET", f"{API}/experiment")[1])["params"]["maxTrialNumber"] == 12


def test_every_row_of_portal_and_export_is_what_the_trial_itself_wrote(light):
    written = {
        path.parent.name: json.loads(path.read_text())
        for path in light.folder.glob("environments/*/trials/*/architecture.json")
    }
    jobs = json.loads(ask(light, "GET", f"{API}/trial-jobs")[1])
    exported = json.loads(ask(light, "GET", f"{API}/export-data")[1])
    shown = {job["trialJobId"]: job for job in jobs}
    assert len(written) == 12 and set(shown) == set(written)
    for trial, architecture in written.items():
        (parameters,) = shown[trial]["hyperParameters"]
        assert json.loads(parameters)["parameters"] == architecture
        assert database_parameters(light.folder)[trial][1] == architecture
        (value,) = [json.loads(entry["data"]) for entry in shown[trial]["finalMetricData"]]
        assert json.loads(value)["default"] == pytest.approx(score(architecture))
    for row in exported:
        value = json.loads(row["value"]) if isinstance(row["value"], str) else row["value"]
        assert value["default"] == pytest.approx(score(row["parameter"]))


def test_nobody_listens_beyond_this_machine(light):
    own = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    if not own:
        pytest.skip("this machine has no address but the loopback")
    for address in own:
        with pytest.raises(OSError, match="refused"), socket.socket() as connection:
            connection.settimeout(5)
            connection.connect((address, light.port))


def test_the_tensorboard_button_shows_the_trials_events_on_this_machine_only(light):
    pytest.importorskip("tensorboard")
    trial = table(light)[0].trial
    body = json.dumps({"trials": trial})
    status, answer = ask(light, "POST", f"{API}/tensorboard", body, Content_Type="application/json")
    assert status == 200
    task = json.loads(answer)
    try:
        deadline = time.monotonic() + 90
        while not (found := _tags(int(task["port"]))):
            assert time.monotonic() < deadline, "TensorBoard never listed the trial's events"
            time.sleep(0.3)
        assert {"default", "final/default", "final/params"} <= found
        listening = {
            connection.laddr.ip
            for connection in psutil.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
            and connection.laddr.port == int(task["port"])
        }
        assert listening == {"127.0.0.1"}
    finally:
        ask(light, "DELETE", f"{API}/tensorboard-tasks")


def _tags(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/data/plugin/scalars/tags")
        tags = json.loads(connection.getresponse().read())
    except OSError:
        return set()
    finally:
        connection.close()
    return {name for run in tags.values() for name in run}


@pytest.mark.skipif(not browser.installed(), reason="needs chromium and chromium-driver")
def test_the_portal_draws_trials_curves_and_legible_axes(light):
    page = browser.Browser()
    try:
        page.open(f"http://127.0.0.1:{light.port}/detail")
        page.wait_for("SUCCEEDED")
        page.click("//button[contains(., 'Hyper-parameter')]")
        axes = "return [...document.querySelectorAll('svg text')].map(e => e.textContent).join(' ')"
        deadline = time.monotonic() + 90
        while "cell/edge5" not in (drawn := page.script(axes)):
            assert time.monotonic() < deadline, f"no axes; drawn: {drawn}"
            time.sleep(0.2)
        assert "conv5x5" in drawn and "params" in drawn and "[object" not in drawn
        page.click("//button[contains(., 'Intermediate result')]")
        page.wait_for("# Intermediate result")
    finally:
        page.close()


def test_show_export_status_and_check_read_the_same_journal(light, tmp_path):
    def run(*arguments):
        ended = light.place.command("experiment", *arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    name = light.folder.name
    top = max(table(light), key=lambda row: row.metrics["default"])
    shown = run("show", name, "--pareto", "params")
    assert f"best 10 of 12 by default\n  [{top.parameter}, trial {top.trial}]" in shown
    assert "portal at" in run("status", name) and name in run("status")
    run("export", name, "--out", tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open() as file:
        assert {row["trial"] for row in csv.DictReader(file)} == {r.trial for r in table(light)}
    assert run("check", name).startswith("0 of 12 rows")
