"""Known mistakes as data: what they are, how to apply one, and whether it still applies."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
NEEDED = {"name", "mistake", "seen", "file", "text", "replacement"}
EITHER = {"tests", "equivalent"}


class StaleError(Exception):
    """A mistake that no longer applies to the code."""


@dataclass(frozen=True)
class Mutation:
    """One mistake.

    Args:
        id: The data file's stem and the entry's name.
        mistake: What the code then does wrong.
        seen: Where the mistake was met.
        file: The source that is changed, from the project's root.
        text: What is replaced; it occurs in `file` exactly once.
        replacement: What takes its place.
        tests: The tests that must fail; empty if the mutant is equivalent.
        equivalent: The proof that behaviour does not change; empty otherwise.
    """

    id: str
    mistake: str
    seen: str
    file: str
    text: str
    replacement: str
    tests: tuple[str, ...] = ()
    equivalent: str = ""

    def source(self, root: Path) -> str:
        """Returns the changed source.

        Raises:
            StaleError: If the text is not found exactly once, or the result is no Python.
        """
        path = root / self.file
        if not path.is_file():
            raise StaleError(f"{self.id}: there is no file {self.file}.")
        source = path.read_text()
        if source.count(self.text) != 1:
            raise StaleError(
                f"{self.id}: the text occurs {source.count(self.text)} times in {self.file}, "
                "expected once. Follow the code's change, or delete the entry with the code."
            )
        changed = source.replace(self.text, self.replacement)
        if path.suffix != ".py":  # C++: the test builds it
            return changed
        try:
            same = ast.dump(ast.parse(changed)) == ast.dump(ast.parse(source))
        except SyntaxError as error:
            raise StaleError(f"{self.id}: {self.file} is no Python afterwards: {error}.") from error
        if same:
            raise StaleError(f"{self.id}: the replacement changes nothing but the layout.")
        return changed

    def check_tests(self, root: Path) -> None:
        """Raises StaleError if a named test does not exist."""
        for test in self.tests:
            path, *names = test.partition("[")[0].split("::")
            found = set(_tests_in(root / path)) if (root / path).is_file() else set()
            if "::".join(names) not in found:
                raise StaleError(f"{self.id}: there is no test {test}.")


def load(folder: Path = FOLDER) -> list[Mutation]:
    """Reads all data files of a folder.

    Raises:
        ValueError: If an entry has not exactly the known fields, or two share a name.
    """
    found: dict[str, Mutation] = {}
    for path in sorted(folder.glob("*.yaml")):
        for number, entry in enumerate(yaml.safe_load(path.read_text()), 1):
            mutation = _read(entry, path, number)
            if mutation.id in found:
                raise ValueError(f"{path.name} has two entries named '{mutation.id}'.")
            found[mutation.id] = mutation
    return list(found.values())


def _read(entry: Mapping[str, Any], path: Path, number: int) -> Mutation:
    where = f"{path.name}, entry {number} ({entry.get('name')})"
    given = set(entry)
    if given - EITHER != NEEDED or len(given & EITHER) != 1:
        raise ValueError(
            f"{where}: has the fields {sorted(given)}; expected {sorted(NEEDED)} and one of "
            f"{sorted(EITHER)}."
        )
    tests = entry.get("tests", [])
    texts = [*(entry[field] for field in given if field != "tests"), *tests]
    if not all(isinstance(text, str) for text in texts) or not isinstance(tests, list):
        raise ValueError(f"{where}: every field is a text, and tests a list of texts.")
    if "tests" in given and not tests:
        raise ValueError(f"{where}: names no test.")
    fields = {field: entry[field] for field in NEEDED - {"name"}}
    return Mutation(
        id=f"{path.stem}/{entry['name']}",
        tests=tuple(tests),
        equivalent=entry.get("equivalent", ""),
        **fields,
    )


def _tests_in(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}::{n.name}" for n in node.body if hasattr(n, "name"))
