"""Damaged descriptions give a graph, or one clear error."""

from __future__ import annotations

import sys

import pytest

from tests.files.test_fuzz import fuzz

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")


def test_no_damaged_description_escapes():
    found = fuzz(60, 1, "--files", "300", "--only", "description")

    assert found["escapes"] == []
    assert found["files"] >= 100


@pytest.mark.slow
def test_ten_thousand_damaged_descriptions():
    found = fuzz(1800, 2, "--files", "10000", "--only", "description")

    assert found["escapes"] == []
    assert found["files"] == 10_000
