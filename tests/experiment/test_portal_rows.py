"""What people see: every row of the portal's page and of the export, after trials were killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas_plugin.experiment.journal import journal_path, read_journal
from nas_plugin.experiment.results import rows
from tests.experiment import browser
from tests.experiment.scripts.light import SPACE, score

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.skipif(not browser.installed(), reason="needs chromium and chromium-driver"),
]
TRIALS = int(os.environ.get("PORTAL_TRIALS", "200"))  # fewer for a first look
ROWS = "[...document.querySelectorAll('.ms-List-cell')]"
TUNERS = {
    "ours": None,
    "TPE": {"name": "TPE", "classArgs": {"optimize_mode": "maximize", "seed": 1}},
}


def shown_rows(page, expected):
    """Returns trial -> parameters, read from the expanded rows of the page's table."""
    found = {}
    number = 1
    while len(found) < expected:
        if number > 1:
            page.script(f"document.querySelector('[aria-label=\"Page {number}\"]').click()")
            time.sleep(0.5)
        for row in range(min(20, expected - len(found))):
            trial, parameters = expand(page, row, found)
            found[trial] = parameters
        number += 1
    return found


def expand(page, row, known):
    """Opens one row, reads it, and closes it again."""
    cell = f"{ROWS}[{row}]"
    click = f"{cell}?.querySelector('[data-automation-key=_expand] i')?.click()"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        trial = page.script(
            f"return {cell}?.querySelector('[data-automation-key=id]')?.innerText.trim()"
        )
        if not trial or trial.split()[0] in known:  # not drawn yet, or still the page before
            time.sleep(0.1)
            continue
        page.script(click)
        for _ in range(20):
            lines = page.script(f"return {cell}?.querySelector('.bgHyper')?.innerText")
            if lines:
                page.script(click)
                pairs = re.findall(r"^(\S+):\s*\"(.*)\"$", lines, re.MULTILINE)
                return trial.split()[0], dict(pairs)
            time.sleep(0.05)
    raise AssertionError(f"row {row} never opened; page: {page.text()[-1500:]}")


def row_of(table, trial):
    """Returns what the journal says that a trial was made for."""
    return next(dict(row.architecture) for row in table if row.trial == trial)


@pytest.mark.parametrize("tuner", TUNERS)
def test_every_row_of_page_and_export_is_what_its_trial_wrote(place, tmp_path, tuner):
    config = place.config(trials=TRIALS, tuner=TUNERS[tuner])
    ended = place.command(
        "experiment", "create", "--config", config, "--keep", timeout=1500, FAULTS="0.1"
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    folder = place.latest()
    port = re.findall(r"http://127\.0\.0\.1:(\d+)", ended.stdout + ended.stderr)[-1]
    try:
        table = rows(read_journal(journal_path(folder)))
        written = {
            path.parent.name: json.loads(path.read_text())
            for path in folder.glob("environments/*/trials/*/architecture.json")
        }
        page = browser.Browser()
        try:
            page.open(f"http://127.0.0.1:{port}/detail")
            page.wait_for("SUCCEEDED")
            shown = shown_rows(page, len(table))
            if "PORTAL_PICTURE" in os.environ:
                page.script(f"{ROWS}[0].querySelector('[data-automation-key=_expand] i').click()")
                page.script(f"{ROWS}[0].scrollIntoView()")
                time.sleep(1)
                page.picture(Path(os.environ["PORTAL_PICTURE"]))
        finally:
            page.close()
        out = tmp_path / "export.json"
        nnictl = shutil.which("nnictl") or os.path.join(os.path.dirname(sys.executable), "nnictl")
        subprocess.run(
            [nnictl, "experiment", "export", folder.name, "--type", "json", "-f", str(out)],
            env=place.environment(),
            check=True,
            capture_output=True,
        )
        exported = {row["trialJobId"]: row for row in json.loads(out.read_text())}
    finally:
        assert place.command("experiment", "stop", folder.name).returncode == 0

    killed = [row for row in table if row.outcome == "killed"]
    silent = [row.trial for row in killed if row.trial not in written]
    assert len(killed) >= TRIALS / 20 and len(silent) >= TRIALS / 50
    assert set(shown) == {row.trial for row in table}
    assert all(len(parameters) == len(SPACE) for parameters in shown.values())
    assert all(shown[trial] == row_of(table, trial) for trial in silent)
    wrong_page = [trial for trial, wrote in written.items() if shown[trial] != wrote]
    finished = {row.trial: row for row in table if row.outcome == "succeeded"}
    wrong_export = [t for t in finished if exported[t]["parameter"] != written[t]]
    print(
        f"{tuner}: {len(table)} trials, {len(killed)} killed, {len(silent)} of them before they "
        f"asked; {len(wrong_page)} of {len(written)} rows of the page wrong, {len(wrong_export)} "
        f"of {len(finished)} of the export"
    )
    assert wrong_page == [] and wrong_export == []
    assert len(finished) >= TRIALS * 0.95
    for trial, row in finished.items():
        assert row.metrics["default"] == pytest.approx(score(written[trial]))
