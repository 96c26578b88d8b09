"""Who joins a process group leaves it, threads and all, before the interpreter ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads threads from /proc"),
]

# What is registered first runs last.
PROGRAM = """
import atexit, os, torch
from torch import nn

def threads():
    tasks = os.listdir("/proc/self/task")
    return sorted(open(f"/proc/self/task/{task}/comm").read().strip() for task in tasks)

atexit.register(lambda: print("at the end:", [name for name in threads() if "gloo" in name]))

from nas_plugin.data import ArrayDataset
from nas_plugin.trainers import RetrainTrainer, accuracy

JOIN
net = nn.Linear(2, 2)
data = ArrayDataset(torch.randn(8, 2), torch.arange(8) % 2)
trainer = RetrainTrainer(
    net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), lr=0.1), 1,
    data, data, batch_size=4, device="cpu",
)
trainer.train()
torch.distributed.barrier()
print("joined:", [name for name in threads() if "runloop" in name] != [])
LEAVE
"""
OWN = (
    'torch.distributed.init_process_group("gloo")',
    "torch.distributed.destroy_process_group()",
)


@pytest.mark.parametrize(("join", "leave"), [("", ""), OWN], ids=["the library's", "the user's"])
def test_no_thread_of_a_group_outlives_it(join: str, leave: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torchrun = {
        "TORCHELASTIC_RUN_ID": "test", "RANK": "0", "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    program = PROGRAM.replace("JOIN", join).replace("LEAVE", leave)
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **torchrun}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "joined: True" in ended.stdout
    assert "at the end: []" in ended.stdout
