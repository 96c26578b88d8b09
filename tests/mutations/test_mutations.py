"""Every known mistake still applies, and the runner tells the killed from the others."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from tests.mutations.mutation import ROOT, Mutation, StaleError, load
from tests.mutations.run import shuffled

EVERY = load()


def test_every_entry_applies_and_names_tests_that_exist() -> None:
    stale = []
    for mutation in EVERY:
        try:
            mutation.source(ROOT)
            mutation.check_tests(ROOT)
        except StaleError as error:
            stale.append(str(error))

    assert not stale, "\n".join(stale)


def test_no_two_entries_make_the_same_change() -> None:
    changes: dict[tuple[str, str], str] = {}
    for mutation in EVERY:
        change = (mutation.file, mutation.source(ROOT))
        assert change not in changes, f"{mutation.id} repeats {changes[change]}"
        changes[change] = mutation.id


def test_a_time_budget_samples_by_names_and_the_seed_alone() -> None:
    base = Mutation("", "none", "nowhere", "a.py", "1", "2", ("tests/t.py::t",))
    entries = [replace(base, id=f"a/{i}") for i in range(20)]
    first = shuffled(entries, 0)

    assert first == shuffled(list(reversed(entries)), 0) != shuffled(entries, 1)
    assert set(first) == set(entries) and first != entries


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one function, one good test and one that looks away."""
    (tmp_path / "nas_plugin").mkdir()
    (tmp_path / "nas_plugin" / "__init__.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "tests" / "mutations").mkdir(parents=True)
    (tmp_path / "tests" / "test_double.py").write_text(
        dedent(
            """
            import pytest
            from nas_plugin import double

            @pytest.mark.parametrize("x", [0, 3])
            def test_good(x):
                assert double(x) == x + x

            def test_blind():
                assert double(0) == 0

            def test_skipped():
                pytest.skip("no data")

            def test_failing():
                assert double(1) == 3
            """
        )
    )
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    return tmp_path


def entry(name: str, replacement: str, test: str, *, text: str = "2 * x") -> str:
    return dedent(
        f"""
        - name: {name}
          mistake: It is no double.
          seen: nowhere
          file: nas_plugin/__init__.py
          text: "{text}"
          replacement: "{replacement}"
          tests: ["tests/test_double.py::{test}"]
        """
    )


def run(project: Path, *options: str) -> tuple[int, list[str]]:
    command = [sys.executable, "-m", "tests.mutations", "--root", str(project), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.mark.processes
def test_the_runner_reports_what_became_of_each(project: Path) -> None:
    (project / "tests" / "mutations" / "double.yaml").write_text(
        entry("plus", "2 + x", "test_good")
        + entry("one-case", "3 * x", "test_good[3]")
        + entry("unnoticed", "4 * x", "test_blind")
        + entry("moved", "5 * x", "test_good", text="x * 2")
        + entry("gone", "6 * x", "test_gone")
        + entry("without-data", "7 * x", "test_skipped")
        + entry("red-before", "8 * x", "test_failing")
        + entry("endless", "[0 for _ in iter(int, 1)]", "test_good")
        + "- {name: same, mistake: None., seen: nowhere, file: nas_plugin/__init__.py, "
        "text: 2 * x, replacement: x * 2, equivalent: Multiplication commutes.}\n"
    )

    code, lines = run(project, "--time-limit", "3")
    kinds = {line[11:].split()[0]: line.split()[0] for line in lines if " double/" in line}

    expected = {
        "plus": "killed",
        "one-case": "killed",
        "unnoticed": "survived",
        "moved": "stale",
        "gone": "stale",
        "without-data": "skipped",
        "red-before": "broken",
        "endless": "killed",
        "same": "equivalent",
    }
    assert {name: kinds[f"double/{name}"] for name in expected} == expected
    assert code == 1
    assert lines[-1].startswith(
        "3 of 4 killed (75.0 %); 1 survived, 2 stale, 1 broken, 1 equivalent, 1 skipped, 0 not run"
    )


@pytest.mark.processes
def test_what_the_time_did_not_allow_is_said(project: Path) -> None:
    names = [f"plus{i}" for i in range(3)]
    (project / "tests" / "mutations" / "double.yaml").write_text(
        "".join(entry(name, f"2 + {i} + x", "test_good") for i, name in enumerate(names))
    )

    code, lines = run(project, "--minutes", "0")

    assert code == 0
    assert sum(line.startswith("not run") for line in lines) == 3
    assert lines[-1].startswith("0 of 0 killed; 0 survived") and "3 not run" in lines[-1]


def test_entries_are_read_strictly(tmp_path: Path) -> None:
    good = entry("plus", "2 + x", "test_good")
    path = tmp_path / "double.yaml"
    for wrong, message in (
        (good.replace("mistake:", "note:"), "expected"),
        (good + good, "two entries named 'double/plus'"),
        (good.replace('["tests/test_double.py::test_good"]', "[]"), "names no test"),
        (good + "  equivalent: It is not.\n", "one of"),
        (good.replace('"2 + x"', "2"), "a text"),
    ):
        path.write_text(wrong)
        with pytest.raises(ValueError, match=message):
            load(tmp_path)


def test_a_replacement_must_change_the_program(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1 + 1\n")
    base = Mutation("a/b", "none", "nowhere", "a.py", "1 + 1", "1 + 1  # so", ("tests/t.py::t",))

    with pytest.raises(StaleError, match="changes nothing"):
        base.source(tmp_path)
    with pytest.raises(StaleError, match="no Python"):
        replace(base, replacement="1 +").source(tmp_path)
    with pytest.raises(StaleError, match="2 times"):
        replace(base, text="1", replacement="2").source(tmp_path)
    with pytest.raises(StaleError, match="no file"):
        replace(base, file="b.py").source(tmp_path)
