"""Long games with real experiments: faults, crashes, mistakes and another machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest

from nas_plugin.experiment.database import database_parameters, disagreements
from nas_plugin.experiment.journal import journal_path, read_journal
from nas_plugin.experiment.results import REPEATED, rows
from nas_plugin.experiment.space_format import ROW
from nas_plugin.strategies import Outcome, strategies
from tests.experiment.conftest import LIGHT, ROOT
from tests.experiment.scripts.light import SPACE, score
from tests.experiment.scripts.outcomes import WAYS

pytestmark = [pytest.mark.slow, pytest.mark.processes]
SCRIPTS = LIGHT.parent


def check_attribution(folder, budget):
    """0 wrong, 0 lost, 0 double; returns the table."""
    events = list(read_journal(journal_path(folder)))
    table = rows(events)
    for row in table:
        if row.outcome == "succeeded":
            assert row.metrics["default"] == pytest.approx(score(row.architecture))
    counted = [r for r in table if r.parameter is not None and r.outcome != REPEATED]
    doubles = Counter((r.parameter, r.attempt) for r in counted)
    assert max(doubles.values()) == 1
    assert sorted(e["parameter"] for e in events if e["event"] == "tell") == list(range(budget))
    return table


@pytest.mark.parametrize("trials", [200, 1000])
def test_a_tenth_of_the_trials_is_killed_and_no_row_is_wrong(place, trials):
    config = place.config(trials=trials)
    ended = place.command("experiment", "create", "--config", config, timeout=1800, FAULTS="0.1")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    table = check_attribution(place.latest(), trials)
    killed = [row for row in table if row.outcome == "killed"]
    silent = [event for event in read_journal(journal_path(place.latest())) if "asked" in event]
    wrong = {d.trial for d in disagreements(place.latest(), table) if d.what == "architecture"}
    print(
        f"{trials} architectures, {len(table)} trials, {len(killed)} killed, {len(silent)} of "
        f"them before they asked: NNI's database has {len(wrong)} rows wrong, the journal 0"
    )
    assert len(killed) > trials * 0.05 and len(silent) > trials * 0.01
    assert not wrong and all(row.parameter is not None for row in table)


def test_the_documented_experiment_ends_with_results(place):
    documented = ["experiment", "create", "--config", "examples/nni/digits.yml"]
    assert f"nas-plugin {' '.join(documented)}" in (ROOT / "README.md").read_text()
    (place.home / "examples").symlink_to(ROOT / "examples")
    ended = place.command(*documented, timeout=900)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "done: 20 succeeded" in ended.stdout and "best 3 of 20 by default" in ended.stdout


def test_a_manager_that_is_killed_at_five_moments_reaches_its_end(place):
    config = place.config(trials=60)
    process = place.start("experiment", "create", "--config", config, "--restart", "5")
    kills = 0
    deadline = time.monotonic() + 400
    # Counted by what the journal has seen: at the first proposals, and after 8, 20, 35, 50 ends.
    for ends in (0, 8, 20, 35, 50):
        while process.poll() is None and time.monotonic() < deadline:
            folder = place.latest()
            path = journal_path(folder)
            seen = [e["event"] for e in read_journal(path)] if path.is_file() else []
            ready = seen.count("end") >= ends and "ask" in seen
            if ready and seen.count("session") == kills + 1 and (manager := find_manager(folder)):
                manager.kill()
                kills += 1
                break
            time.sleep(0.05)
    output = process.communicate(timeout=400)[0]
    assert process.returncode == 0, output
    assert kills == 5 and output.count("Resuming") == 5
    check_attribution(place.latest(), 60)
    asks = [e for e in read_journal(journal_path(place.latest())) if e["event"] == "ask"]
    assert [e["parameter"] for e in asks] == list(range(60))


def test_at_concurrency_one_nni_and_the_process_propose_the_same(place):
    ended = place.command(
        "experiment", "create", "--config", place.config(trials=30, concurrency=1), timeout=200
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    events = list(read_journal(journal_path(place.latest())))
    session = next(e for e in events if e["event"] == "session")
    strategy = strategies.get(session["strategy"])(
        SPACE, seed=session["seed"], **session["options"]
    )
    proposed = []
    for _ in range(30):
        proposal = strategy.ask()
        proposed.append(proposal.architecture.to_json())
        strategy.tell(proposal.id, Outcome(metrics={"default": score(proposal.architecture)}))
    assert [e["architecture"] for e in events if e["event"] == "ask"] == proposed


def find_manager(folder):
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if folder.name in line and any("nni_node" in part for part in line):
            return process
    return None


def test_every_way_to_end_lands_in_its_state(place):
    tuner = {
        "className": "nas_plugin.experiment.NasTuner",
        "classArgs": {"strategy": "random", "seed": 3, "retries": 0},
    }
    script = SCRIPTS / "outcomes.py"
    config = place.config(script=script, trials=13, concurrency=1, tuner=tuner)
    ended = place.command("experiment", "create", "--config", config, timeout=200)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    table = rows(read_journal(journal_path(place.latest())))
    assert dict(zip(WAYS, [(r.outcome, r.exit_code, r.signal) for r in table], strict=False)) == {
        "number": ("succeeded", 0, None),
        "dict": ("succeeded", 0, None),
        "exit code": ("failed", 3, None),
        "exception": ("failed", 1, None),
        "killed": ("killed", None, "SIGKILL"),
        "killed before asking": ("killed", None, "SIGKILL"),
        "no result": ("no_result", 0, None),
        "nan": ("not_a_number", 1, None),
        "inf": ("not_a_number", 1, None),
        "string": ("invalid_result", 1, None),
        "list": ("invalid_result", 1, None),
        "nan past us": ("not_a_number", 0, None),
        "interrupted": ("stopped", None, "SIGINT"),
    }
    assert "RuntimeError: out of luck" in table[3].message
    assert len(table) == 13 and sum(row.outcome == "succeeded" for row in table) == 2


@pytest.mark.parametrize(
    "where",
    [
        "construct",
        "handle_initialize",
        "handle_request_trial_jobs",
        "handle_report_metric_data",
        "handle_trial_end",
        "strategy",
    ],
)
def test_a_tuners_mistake_ends_the_experiment_with_its_text(place, where):
    tuner = {
        "className": "broken_tuner.BrokenTuner",
        "codeDirectory": str(SCRIPTS),
        "classArgs": {"where": where, "strategy": "random"},
    }
    said = f"a mistake in {where}"
    if where == "strategy":
        tuner["classArgs"] = {"where": "none", "strategy": "evolution of dinosaurs"}
        said = "evolution of dinosaurs"
    began = time.monotonic()
    ended = place.command("experiment", "create", "--config", place.config(tuner=tuner))
    assert ended.returncode == 1
    assert said in ended.stderr
    assert not find_manager(place.latest())
    print(f"{where}: {time.monotonic() - began:.1f} s from the command to the end")


def test_a_trial_over_its_time_is_ended_and_not_tried_again(place):
    script = place.home / "slow.py"
    script.write_text(
        "import os, time\n"
        "from nas_plugin.experiment import next_architecture, report_final\n"
        "from tests.experiment.scripts.light import SPACE, score\n"
        "architecture = next_architecture(SPACE)\n"
        "time.sleep(300 * (os.environ.get('NNI_TRIAL_SEQ_ID') == '1'))\n"
        "report_final(score(architecture))\n"
    )
    config = place.config(
        script=script, trials=4, maxTrialDuration="20s"
    )  # starting takes some, too
    ended = place.command("experiment", "create", "--config", config)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    outcomes = Counter(r.outcome for r in rows(read_journal(journal_path(place.latest()))))
    assert outcomes == {"succeeded": 3, "stopped": 1}


def test_an_assessor_ends_trials_under_our_tuner(place):
    script = place.home / "long.py"
    script.write_text(
        "import time\n"
        "from nas_plugin.experiment import next_architecture, report_final, report_intermediate\n"
        "from tests.experiment.scripts.light import SPACE, score\n"
        "architecture = next_architecture(SPACE)\n"
        "report_intermediate(0.5)\n"
        "time.sleep(30)\n"
        "report_final(score(architecture))\n"
    )
    assessor = {"className": "strict_assessor.StrictAssessor", "codeDirectory": str(SCRIPTS)}
    config = place.config(script=script, trials=3, assessor=assessor)
    ended = place.command("experiment", "create", "--config", config)
    assert ended.returncode == 1 and "no trial has succeeded" in ended.stderr
    table = rows(read_journal(journal_path(place.latest())))
    assert [row.outcome for row in table] == ["stopped"] * 3


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_tuner_that_is_killed_is_reported_or_started_again(place, restarts):
    arguments = ["experiment", "create", "--config", place.config(trials=20)]
    arguments += ["--restart", str(restarts)]
    process = place.start(*arguments)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        path = journal_path(place.latest())
        seen = list(read_journal(path)) if path.is_file() else []
        if sum(e["event"] == "end" for e in seen) >= 4:
            pid = next(e["pid"] for e in seen if e["event"] == "session")
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.1)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == (0 if restarts else 1), output
    if restarts:
        check_attribution(place.latest(), 20)
    else:
        assert "nas-plugin experiment resume" in output
    assert not find_manager(place.latest())


@pytest.mark.parametrize(("how", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("stop", 1)])
def test_an_experiment_that_is_stopped_ends_and_can_go_on(place, how, code):
    config = place.config(trials=30)
    process = place.start("experiment", "create", "--config", config, "--restart", "3")
    assert "portal at" in process.stdout.readline()
    folder = place.latest()
    deadline = time.monotonic() + 200
    while not journal_path(folder).is_file():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    if how == "stop":
        assert place.command("experiment", "stop", folder.name).returncode == 0
    else:
        process.send_signal(signal.Signals[how])
    output = process.communicate(timeout=120)[0]
    assert process.returncode == code and f"experiment resume {folder.name}" in output
    assert not find_manager(folder)
    resumed = place.command("experiment", "resume", folder.name, timeout=300)
    assert resumed.returncode == 0, resumed.stderr
    check_attribution(folder, 30)


def test_the_registered_name_works(place):
    registry = str(place.home / "registry")
    registered = place.command("experiment", "register", NNI_CONFIG_DIR=registry)
    assert registered.returncode == 0, registered.stderr
    tuner = {"name": "NasPlugin", "classArgs": {"strategy": "random", "seed": 1}}
    config = place.config(tuner=tuner, trials=3)
    ended = place.command("experiment", "create", "--config", config, NNI_CONFIG_DIR=registry)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    check_attribution(place.latest(), 3)


def test_nnis_own_tuner_searches_the_flat_space(place):
    tuner = {"name": "TPE", "classArgs": {"optimize_mode": "maximize", "seed": 1}}
    ended = place.command("experiment", "create", "--config", place.config(tuner=tuner))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    table = check_attribution(place.latest(), 12)
    assert [row.outcome for row in table] == ["succeeded"] * 12
    results = [
        json.loads(path.read_text())
        for path in place.latest().glob("environments/*/trials/*/nas_plugin/result.json")
    ]
    assert len(results) == 12
    for result in results:
        assert result["metrics"]["default"] == pytest.approx(score(result["architecture"]))


def test_trials_without_a_result_under_a_foreign_tuner_are_exit_code_one(place):
    script = place.home / "silent.py"
    script.write_text("import nni\nnni.get_next_parameter()\n")
    config = place.config(trials=2)
    content = json.loads(config.read_text())
    content["trialCommand"] = f"python {script}"
    content["tuner"] = {
        "codeDirectory": ".",
        "className": "nni.algorithms.hpo.random_tuner.RandomTuner",
    }
    config.write_text(json.dumps(content))
    ended = place.command("experiment", "create", "--config", config)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "0 of 2 trials have a result" in ended.stdout
    assert "no trial has succeeded" in ended.stderr


def test_plain_nnictl_runs_and_the_tuner_says_how_to_close_the_portal(place):
    # What is tested is a manager without the guard; it still listens on this machine only.
    loopback = place.home / "loopback.js"
    loopback.write_text(
        "const net = require('net'); const listen = net.Server.prototype.listen;\n"
        "net.Server.prototype.listen = function (port) {"
        " return listen.call(this, port, '127.0.0.1'); };\n"
    )
    config = place.config()
    content = json.loads(config.read_text())
    content["tuner"]["codeDirectory"] = "."
    config.write_text(json.dumps(content))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    nnictl = shutil.which("nnictl") or str(os.path.join(os.path.dirname(sys.executable), "nnictl"))
    environment = place.environment(NODE_OPTIONS=f"--require {loopback}")
    start = [nnictl, "create", "--config", str(config), "--port", str(port)]
    subprocess.run(start, cwd=place.home, env=environment, check=True, capture_output=True)
    folder = place.latest()
    path = journal_path(folder)
    deadline = time.monotonic() + 100
    while not (path.is_file() and sum(e["event"] == "tell" for e in read_journal(path)) == 12):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    check_attribution(folder, 12)
    log = (folder / "log" / "dispatcher.log").read_text()
    assert "nas-plugin experiment guard" in log and "carry the mark _row" in log
    assert all(ROW in parameters for _, parameters, _ in database_parameters(folder).values())
    assert place.command("experiment", "stop", folder.name).returncode == 0


@pytest.mark.skipif(not shutil.which("sshd"), reason="needs openssh-server")
def test_trials_run_on_another_machine_over_ssh(place):
    keys = place.home / "keys"
    keys.mkdir(mode=0o700)
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)]
        subprocess.run(command, check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    remote_home = place.home / "remote"
    remote_home.mkdir()
    configuration = keys / "sshd_config"
    configuration.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {keys / 'user.pub'}\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
        f"SetEnv HOME={remote_home} PIP_NO_INDEX=1 PYTHONPATH={ROOT}\n"
    )
    os.makedirs("/run/sshd", exist_ok=True)
    server = subprocess.Popen([shutil.which("sshd"), "-D", "-e", "-f", str(configuration)])
    try:
        machine = {
            "host": "127.0.0.1",
            "port": port,
            "user": "root",
            "sshKeyFile": str(keys / "user"),
            "pythonPath": os.path.dirname(sys.executable),
        }
        service = {"platform": "remote", "reuseMode": False, "machineList": [machine]}
        config = place.config(
            trials=6,
            trainingService=service,
            nniManagerIp="127.0.0.1",
            trialCommand=f"{sys.executable} light.py",
        )
        ended = place.command("experiment", "create", "--config", config, timeout=200)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        table = check_attribution(place.latest(), 6)
        assert [row.outcome for row in table] == ["succeeded"] * 6
        assert not (place.latest() / "environments").exists()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
