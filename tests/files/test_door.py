"""All files are opened in `nas_plugin.files`, and whoever reads one is known to the fuzzer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.files.loaders import LOADERS, NOT_DATA

ROOT = Path(__file__).resolve().parents[2]
#: Calls that open or decode a file: module → its functions, or all of them.
OPENS = {
    "io": {"open", "FileIO"}, "os": {"fdopen"}, "np": {"load", "memmap", "fromfile", "loadtxt"},
    "numpy": {"load", "memmap", "fromfile", "loadtxt"}, "torch": {"load"}, "Image": {"open"},
    "yaml": None, "pickle": {"load", "loads", "Unpickler"}, "zipfile": None, "tarfile": None,
    "gzip": None, "bz2": None, "lzma": None, "json_tricks": None, "json": {"load", "loads"},
    "marshal": None, "shelve": None, "sqlite3": {"connect"}, "csv": set(),
}  # fmt: skip
METHODS = {"open", "read_text", "read_bytes"}
#: What reads a file through the door.
DOOR = {
    "open_bounded", "read_bytes", "read_text", "read_json", "read_yaml", "read_npz", "npz_names",
    "read_image", "read_tar", "read_pickles", "read_lines", "load_checkpoint", "load_latest",
    "find_latest", "open_zip",
}  # fmt: skip
#: Calls outside the door, each with its reason. Writing is not reading.
ALLOWED = {
    "benchmarks.table:__init__": "maps a table whose header was read through the door",
    "benchmarks.table:_replace": "writes",
    "contracts.mutator:draws_the_same_from_the_same_seed": "reads back what it just wrote",
    "contracts.strategy:goes_on_from_a_saved_state": "reads back what it just wrote",
    "execution.build:_digest": "the library that was built, against its check sum",
    "execution.build:_locked": "writes",
    "execution.build:built": "the check sum beside the library that was built",
    "execution.build:toolchain": "its own sources",
    "evaluation.compare:parse_entrant": "a flag of the command line",
    "trainers.regularizers:named_regularizer": "a flag of the command line",
    "commands.profile:_made": "a flag of the command line",
    "commands.bench_compare:run": "writes",
    "experiment.journal:__init__": "writes",
    "reporting.jsonl:__init__": "writes",
    "reporting.jsonl:_check_end_of_line": "compares one byte of the program's own log",
    "reporting.html:_plot": "reads back the picture that matplotlib just drew",
    "experiment.events:_write": "writes",
    "experiment.launch:_spawn": "writes",
    "experiment.trial:_note": "writes",
    "experiment.trial:_print": "writes to nowhere",
    "experiment.channel:receive": "a message of NNI's manager",
    "experiment.channel:_is_stored": "a message of NNI's manager",
    "experiment.manager_api:_request": "a message of NNI's manager",
    "experiment.tuner:_plain": "a message of NNI's manager",
    "experiment.tuner:_metric": "a message of NNI's manager",
    "experiment.tuner:_configured_assessor": "an argument of NNI's manager",
    "experiment.database:database_parameters": "NNI's own database, read-only",
    "experiment.space_format:_unlabel": "a label of at most one choice, already bounded",
}


def functions() -> Iterator[tuple[str, ast.AST]]:
    """Yields ``module:function`` and its tree, for all outside `nas_plugin.files`."""
    package = ROOT / "nas_plugin"
    for path in sorted(package.rglob("*.py")):
        if path.parent.name == "files":
            continue
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{module}:{node.name}", node


def opens(node: ast.AST) -> list[str]:
    """Returns the calls inside a function that open or decode a file."""
    found = []
    for call in (n for n in ast.walk(node) if isinstance(n, ast.Call)):
        function = call.func
        if isinstance(function, ast.Name) and function.id == "open":
            found.append("open")
        elif isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            names = OPENS.get(function.value.id, set())
            if names is None or function.attr in names:
                found.append(f"{function.value.id}.{function.attr}")
            elif function.attr in METHODS and function.value.id != "self":
                found.append(f".{function.attr}")
        elif isinstance(function, ast.Attribute) and function.attr in METHODS:
            found.append(f".{function.attr}")
    return found


def test_every_file_is_opened_in_the_door():
    found = {name: calls for name, node in functions() if (calls := opens(node))}
    assert {n: c for n, c in found.items() if n not in ALLOWED} == {}
    assert sorted(set(ALLOWED) - set(found)) == [], "no longer needed"


def test_every_function_that_reads_a_file_is_known_to_the_fuzzer():
    reading = {
        name
        for name, node in functions()
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in DOOR
    }
    covered = {name for loader in LOADERS.values() for name in loader.covers} | set(NOT_DATA)
    assert sorted(reading - covered) == []


@pytest.mark.parametrize("name", LOADERS)
def test_what_the_fuzzer_damages_was_valid(name, tmp_path):
    loader = LOADERS[name]
    path = tmp_path / loader.name
    path.parent.mkdir(parents=True, exist_ok=True)
    loader.makes(tmp_path)
    path.write_bytes(loader.seal(loader.content))
    loader.load(path)
