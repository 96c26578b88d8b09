from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from nas_plugin.commands import profile
from nas_plugin.errors import OptionError
from nas_plugin.profiling import CostTable
from nas_plugin.space.collect import search_space
from search_spaces.spos import spos

SPOS = ["--space", "spos", "--input", "1,1,8,8"]
for size in ("classes=3", "in_channels=1", "repeats=[1,1]", "channels=[8,16]", "stem=4", "last=8",
             "small_images=true"):  # fmt: skip
    SPOS += ["--set", size]
FIRST = {"block_0": "shuffle3", "block_1": "shuffle3"}


@pytest.fixture
def run(capsys):
    def call(*words):
        parser = argparse.ArgumentParser()
        profile.add_arguments(parser)
        assert profile.run(parser.parse_args([str(word) for word in words])) == 0
        return capsys.readouterr().out

    return call


def tiny():
    return spos(classes=3, in_channels=1, repeats=[1, 1], channels=[8, 16], stem=4, last=8,
                small_images=True)  # fmt: skip


@pytest.mark.parametrize("what", ["--latency", "--flops"])
def test_every_candidate_of_a_space_is_in_the_table(run, tmp_path, what):
    printed = run(*SPOS, what, "--repeats", 1, "--out", tmp_path / "table.json")
    table = CostTable.read(tmp_path / "table.json")

    table.check(search_space(tiny()))
    assert set(table.costs) == {"block_0", "block_1"}
    assert "2 choices" in printed and "block_1: shuffle3" in printed


def test_without_a_table_parameters_and_flops_of_a_network_are_printed(run, tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(FIRST | {"block_0": "xception"}))
    first, other = run(*SPOS), run(*SPOS, "--arc-checkpoint", file)

    assert "2 choices, 16 architectures" in first and "multiply-adds" in first
    assert first.splitlines()[:2] == other.splitlines()[:2]
    assert first.splitlines()[2] != other.splitlines()[2]


def test_a_table_says_what_an_architecture_costs(run, tmp_path):
    out, file = tmp_path / "table.json", tmp_path / "a.json"
    run(*SPOS, "--flops", "--out", out)
    file.write_text(json.dumps(FIRST))
    expected = CostTable.read(out)(FIRST)

    assert f"{expected:.6g} FLOPs" in run("--table", out, "--arc-checkpoint", file)
    file.write_text(json.dumps(FIRST | {"block_0": "conv"}))
    with pytest.raises(OptionError, match="no cost of 'conv' in 'block_0'"):
        run("--table", out, "--arc-checkpoint", file)


def test_published_latencies_become_a_table(run, tmp_path):
    arch = np.array([[i, j] for i in range(2) for j in range(2)], dtype=np.uint8)
    np.savez(tmp_path / "own.npz", arch=arch, phone=1.0 + arch.sum(axis=1))
    flags = ("--published", tmp_path / "own.npz")
    assert run(*flags).split() == ["phone"]
    run(*flags, "--of", "phone", "--candidates", "skip,conv", "--out", tmp_path / "t.json")

    table = CostTable.read(tmp_path / "t.json")
    assert table({"block_0": "conv", "block_1": "skip"}) == pytest.approx(2.0, abs=1e-3)


def test_published_latencies_of_whole_networks_are_looked_up(run, tmp_path, shared_data):
    cell = {f"edge_{t}_{s}": "nor_conv_3x3" for t in range(1, 4) for s in range(t)}
    file = tmp_path / "a.json"
    file.write_text(json.dumps(cell))
    path = shared_data / "nasbench201" / "latency_ms.npz"
    ops = np.load(shared_data / "nasbench201" / "nasbench201.npz")
    names = [str(name) for name in ops["op_names"]]
    row = np.flatnonzero((ops["ops"] == names.index("nor_conv_3x3")).all(axis=1))[0]

    printed = run("--published", path, "--of", "pixel3", "--arc-checkpoint", file)
    assert float(printed.split()[-2]) == pytest.approx(np.load(path)["pixel3"][row], rel=1e-5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--space", "spos"], "--input"),
        ([*SPOS, "--set", "depth=3"], "'spos' takes classes"),
        ([*SPOS, "--set", "classes=many"], "cannot be made"),
        ([*SPOS, "--out", "t.json"], "add --latency or --flops"),
        (["--space", "sops", "--input", "1,1,8,8"], "Did you mean 'spos'"),
    ],
)
def test_wrong_flags_get_a_clear_line(run, flags, message):
    with pytest.raises(OptionError, match=message):
        run(*flags)
