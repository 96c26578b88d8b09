"""The strategy's state beside the journal, so that resuming need not ask everything again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_plugin.errors import NasError
from nas_plugin.files import read_json, write_json

_logger = logging.getLogger(__name__)
_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class Snapshot:
    """A strategy's state after the first `events` events of a journal."""

    events: int
    state: Mapping[str, Any]


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Replaces the snapshot at once."""
    write_json(path, {"events": snapshot.events, "state": snapshot.state})


def read_snapshot(path: Path, events: int) -> Snapshot | None:
    """Returns the snapshot of a journal of `events` events; None if there is none to trust.

    The journal alone is enough: a damaged snapshot costs time and nothing else.
    """
    if not path.is_file():
        return None
    try:
        data = read_json(path, _MAX_BYTES)
        found = Snapshot(int(data["events"]), dict(data["state"]))
    except (NasError, KeyError, TypeError, ValueError) as error:
        _logger.warning("The snapshot %s is not used: %s. The journal is replayed.", path, error)
        return None
    return found if found.events <= events else None
