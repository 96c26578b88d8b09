"""Damaged files of every kind: each is read, or refused by an error of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def fuzz(seconds: float, seed: int, *flags: str) -> dict:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "tests.files.fuzz",
        "--seconds",
        str(seconds),
        "--seed",
        str(seed),
        *flags,
    ]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, cwd=ROOT,
        timeout=seconds + 300,
    )  # fmt: skip
    assert ended.returncode in (0, 1), ended.stderr[-3000:]
    return json.loads(ended.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_no_damaged_file_escapes_the_loaders():
    found = fuzz(30, 0, "--files", "2000")
    assert found["escapes"] == []
    assert found["files"] >= 300


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_no_damaged_file_escapes_the_loaders_for_long():
    seed = int.from_bytes(os.urandom(4), "big")
    minutes = float(os.environ.get("MINUTES", "10"))
    print(f"seed {seed}")
    found = fuzz(60 * minutes, seed)
    print({"files": found["files"], "escapes": len(found["escapes"])})
    assert found["escapes"] == []
