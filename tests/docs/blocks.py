"""Code blocks of the documentation, and what the comment above one says about testing it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = ("python", "sh")
#: Languages of blocks that hold nothing to run.
SHOWN = ("csv", "text", "toml", "yaml")

_FENCE = re.compile(
    r"^(?P<mark><!-- In tests: .*? -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_REPLACEMENT = re.compile(r"`([^`]+)` is `([^`]*)`")
_NAMED = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
_READ = {"slow", "run", "by", "and", "after", "the", "blocks", "above"}


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        page: The file that holds it, from the project's root.
        line: The line of its first line of code.
        language: What stands behind the fence.
        code: Its text.
        replacements: Pairs (as documented, as tested).
        named: Pairs (file, function) of the tests that run it instead.
        slow: Whether it takes minutes.
        unread: Words of the comment that mean nothing.
        above: Code of the page's earlier blocks, if this one continues them.
    """

    page: str
    line: int
    language: str
    code: str
    replacements: tuple[tuple[str, str], ...] = ()
    named: tuple[tuple[str, str], ...] = ()
    slow: bool = False
    unread: str = ""
    above: str = ""

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    def tested(self) -> str:
        """Returns the code with the comment's replacements."""
        code = self.above + self.code
        for documented, tested in self.replacements:
            assert documented in code, f"{self.name} holds no {documented!r} to be replaced"
            code = code.replace(documented, tested)
        return code


def blocks_of(text: str, page: str) -> Iterator[Block]:
    """Yields the fenced blocks of a page."""
    earlier = ""
    for found in _FENCE.finditer(text):
        said = " ".join((found["mark"] or "").removeprefix("<!-- In tests: ").split())
        said = said.removesuffix("-->").strip().removesuffix(".")
        rest = re.findall(r"\w+", _NAMED.sub("", _REPLACEMENT.sub("", said)))
        yield Block(
            page,
            text.count("\n", 0, found.start("code")) + 1,
            found["language"],
            found["code"],
            tuple(_REPLACEMENT.findall(said)),
            tuple(_NAMED.findall(said)),
            slow="slow" in rest,
            unread=" ".join(word for word in rest if word not in _READ),
            above=earlier if "after the blocks above" in said else "",
        )
        if found["language"] == "python":
            earlier += found["code"]


def all_blocks() -> list[Block]:
    """Returns the blocks of every page."""
    return [b for page in PAGES for b in blocks_of(page.read_text(), str(page.relative_to(ROOT)))]
