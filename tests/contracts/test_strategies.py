"""Every strategy in the registry keeps the contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nas_plugin.strategies import strategies
from nas_plugin.testing import STRATEGY_CHECKS


@pytest.mark.parametrize("name", strategies.names())
@pytest.mark.parametrize("check", STRATEGY_CHECKS, ids=lambda check: check.__name__)
def test_every_strategy_keeps_its_contract(check: Callable[[str], None], name: str) -> None:
    check(name)
