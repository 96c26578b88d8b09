"""What README and docs show runs as it is written, in a folder of its own.

A comment above a block says what a test runs in its place: `<!-- In tests: `--epochs 50` is
`--epochs 1` -->`, `<!-- In tests: run by tests/x.py::test_y -->`, or `slow`.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.docs.blocks import PAGES, ROOT, RUN, SHOWN, Block, all_blocks, blocks_of

BLOCKS = all_blocks()
FIRST = next(b for b in BLOCKS if b.page == "README.md" and b.language == "python")
TO_RUN = [b for b in BLOCKS if b.language in RUN and not b.named and b != FIRST]
#: Where a block needs the folder of the data sets.
_DATA = re.compile(r"cifar|mnist|nasbench|trec|sst")


def parameters() -> list[object]:
    return [pytest.param(b, id=b.name, marks=[pytest.mark.slow] if b.slow else []) for b in TO_RUN]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks like the project's root, with the files that the blocks name."""
    for entry in ROOT.iterdir():
        if entry.name not in (".git", ".venv", "runs", "build", "shared"):
            (tmp_path / entry.name).symlink_to(entry)
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name, words in {"python": "", "nas-plugin": " -m nas_plugin"}.items():
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        (commands / name).chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()
    (tmp_path / "mine.csv").write_text("op,epochs,reward\nconv,1,0.5\nskip,1,0.25\n")
    (tmp_path / "glove.6B.300d.txt").write_text("the" + " 0.5" * 300 + "\n")
    rng = np.random.default_rng(0)
    arrays = {f"x_{s}": rng.random((60, 1, 8, 8), np.float32) for s in ("train", "test")}
    np.savez(tmp_path / "my.npz", y_train=np.arange(60) % 3, y_test=np.arange(60) % 3, **arrays)
    return tmp_path


def run(block: Block, folder: Path, request: pytest.FixtureRequest) -> str:
    """Runs a block and returns what it printed."""
    code = block.tested()
    variables = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    if _DATA.search(code):
        variables["NAS_PLUGIN_DATA"] = str(request.getfixturevalue("shared_data"))
    path = f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    # Line numbers of a traceback are those of the page.
    program = (
        [sys.executable, "-c", "\n" * (block.line - 1) + code]
        if block.language == "python"
        else ["bash", "-euo", "pipefail", "-c", code]
    )
    done = subprocess.run(
        program, cwd=folder, env={**os.environ, **variables, "PATH": path},
        capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{block.name}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.processes
@pytest.mark.parametrize("block", parameters())
def test_every_block_runs(block: Block, folder: Path, request: pytest.FixtureRequest) -> None:
    run(block, folder, request)


@pytest.mark.processes
def test_the_first_program_learns(folder: Path, request: pytest.FixtureRequest) -> None:
    assert not FIRST.replacements

    began = os.times()
    printed = run(FIRST, folder, request)
    ended = os.times()

    assert ast.literal_eval(printed.splitlines()[-1])["accuracy"] > 0.9
    # Of the processor, so that a busy machine does not count.
    assert ended.children_user - began.children_user < 60


def test_every_block_says_what_it_is() -> None:
    for block in BLOCKS:
        known = (*RUN, *SHOWN)
        assert block.language in known, f"{block.name} is {block.language!r}, not one of {known}"
        assert not block.unread, f"{block.name}: nothing reads {block.unread!r}"
        if block.language == "yaml":
            assert yaml.safe_load(block.code)
    for page in PAGES:
        text = page.read_text()
        marks = text.count("<!-- In tests:")
        found = list(blocks_of(text, page.name))
        read = [b for b in found if b.replacements or b.named or b.slow or b.above]
        assert len(read) == marks, f"a mark of {page.name} stands above no block"
        indented = re.search(
            r"^    (nas-plugin|python|make|pip|torchrun|import|from) .*", text, re.M
        )
        outside = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
        if indented and indented[0] in outside:
            pytest.fail(f"{page.name} shows {indented[0]!r} outside of a fenced block")


def test_tests_that_stand_for_a_block_exist() -> None:
    for block in BLOCKS:
        for file, function in block.named:
            names = [
                node.name
                for node in ast.walk(ast.parse((ROOT / file).read_text()))
                if isinstance(node, ast.FunctionDef)
            ]
            assert function in names, f"{block.name} names {file}::{function}, which is not there"


def test_a_block_is_read_with_its_mark() -> None:
    text = (
        "Words.\n\n<!-- In tests: `--epochs 50` is `--epochs 1`, slow -->\n```sh\npython x.py "
        "--epochs 50\n```\n\n<!-- In tests: run by tests/a/test_b.py::test_c. -->\n```python\n"
        "f()\n```\n```text\nshown\n```\n"
    )

    shell, python, shown = blocks_of(text, "page.md")

    assert (shell.line, shell.slow, shell.tested()) == (5, True, "python x.py --epochs 1\n")
    assert python.named == (("tests/a/test_b.py", "test_c"),)
    assert (shown.language, shown.replacements, shown.named) == ("text", (), ())
    assert not any(block.unread for block in (shell, python, shown))


def commands() -> list[tuple[str, str]]:
    """Returns each documented command of nas-plugin and make, with where it stands."""
    found = []
    for page in PAGES:
        text = page.read_text()
        read = re.sub(r"<!--.*?-->", "", text, flags=re.S)
        inline = re.findall(r"`((?:nas-plugin|make) [^`\n]+)`", read)
        blocks = [b.code for b in blocks_of(text, page.name) if b.language == "sh"]
        lines = [line for code in blocks for line in code.replace("\\\n", "").splitlines()]
        shown = [line for line in lines if line.startswith(("nas-plugin ", "make "))]
        found += [(page.name, command) for command in dict.fromkeys([*inline, *shown])]
    return found


@pytest.mark.parametrize(("page", "command"), commands())
def test_every_command_and_flag_is_known(page: str, command: str) -> None:
    from nas_plugin.cli import command_modules

    program, name, *words = shlex.split(command.split("…")[0], comments=True)
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert name in targets
        return
    module = {module.NAME: module for module in command_modules()}[name]
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    known = help_of(parser, [word for word in words if not word.startswith("-")])
    for word in words:
        if word.startswith("--"):
            assert word.split("=")[0] in known, f"{command}: {word} is no flag"


def help_of(parser: argparse.ArgumentParser, words: list[str]) -> set[str]:
    """Returns the flags that a command takes, those of the subcommands in `words` included."""
    flags: set[str] = set()
    for action in parser._actions:
        flags.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for word in words[:1]:
                assert word in action.choices, f"{word} is none of {list(action.choices)}"
                flags |= help_of(action.choices[word], words[1:])
    return flags
