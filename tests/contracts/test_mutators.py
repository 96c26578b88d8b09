"""Every mutator in the registry keeps the contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nas_plugin.mutators import mutators
from nas_plugin.testing import MUTATOR_CHECKS


@pytest.mark.parametrize("name", mutators.names())
@pytest.mark.parametrize("check", MUTATOR_CHECKS, ids=lambda check: check.__name__)
def test_every_mutator_keeps_its_contract(check: Callable[[str], None], name: str) -> None:
    check(name)
