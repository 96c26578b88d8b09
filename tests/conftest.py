"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets and tables; a test that needs it skips where it is absent."""
    named = os.environ.get("NAS_PLUGIN_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}; set NAS_PLUGIN_DATA to the folder of the data sets")
    return folder


# A shell starts what runs in its background with SIGINT ignored, which the library respects.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
