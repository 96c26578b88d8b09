"""Mistakes that nobody listed: small changes of the syntax tree, drawn by a seed."""

from __future__ import annotations

import argparse
import ast
import itertools
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from random import Random

from tests.mutations.mutation import ROOT
from tests.mutations.sandbox import Result, Sandbox

COMPARISONS = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==",
    "is not": "is", "is": "is not", "not in": "in", "in": "not in",
}  # fmt: skip
OPERATIONS = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "/", "**": "*", "%": "*", "@": "*"}
NAMES = {"min": "max", "max": "min", "all": "any", "any": "all", "True": "False", "False": "True"}
#: Arguments that only guard against mistakes, or whose value is as good as any other.
GUARDS = {"strict", "frozen", "eq", "daemon", "seed", "max_bytes"}
#: Folders of tests that can notice a change in a package, beside those of its own name.
TESTS = {
    "choice": ["space", "mutators", "contracts", "search_spaces"],
    "space": ["choice", "strategies", "mutators", "benchmarks", "contracts/test_strategies.py"],
    "mutators": ["contracts/test_mutators.py", "trainers"],
    "strategies": ["contracts/test_strategies.py", "evaluation"],
    "evaluation": ["commands"],
    "benchmarks": ["evaluation", "commands"],
    "data": ["trainers"],
    "trainers": ["mutators"],
}
#: Seconds for one pass over the tests, and for those of one change.
TRACE_LIMIT, LIMIT = 900.0, 120.0


@dataclass(frozen=True)
class Change:
    """One change of a source.

    Args:
        file: The source, from the project's root.
        line: Where it is changed.
        start: The first character that is replaced.
        end: The first that is not any more.
        replacement: What takes the place.
        function: The line where the innermost function around it begins; None outside of any.
    """

    file: str
    line: int
    start: int
    end: int
    replacement: str
    function: int | None

    def source(self, text: str) -> str:
        """Returns the changed source."""
        return text[: self.start] + self.replacement + text[self.end :]

    def show(self, text: str) -> str:
        """Returns the changed line, with what stood there and what stands there now."""
        begin = text.rfind("\n", 0, self.start) + 1
        stop = text.find("\n", self.end)
        old = text[self.start : self.end]
        marked = f"{text[begin : self.start]}⟦{old} → {self.replacement}⟧{text[self.end : stop]}"
        return f"{self.file}:{self.line}: {marked.strip()}"


class Finder(ast.NodeVisitor):
    """Finds all changes of a source, leaving out types, messages of errors and docstrings."""

    def __init__(self, file: str, text: str) -> None:
        self.changes: list[Change] = []
        self._file, self._text = file, text
        lines = text.encode().split(b"\n")
        self._bytes = [0]
        for line in lines:
            self._bytes.append(self._bytes[-1] + len(line) + 1)
        self._functions: list[int] = []
        self.visit(ast.parse(text))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        for name, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            if default is not None and name.arg not in GUARDS:
                self.visit(default)
        for default in node.args.defaults:
            self.visit(default)
        self._functions.append(first)
        for child in node.body:
            self.visit(child)
        self._functions.pop()

    def visit_Raise(self, node: ast.Raise) -> None:
        """Leaves messages alone."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, right in itertools.pairwise(operands):
            self._between(left, right, COMPARISONS)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if not isinstance(node.left, ast.Constant) or not isinstance(node.left.value, str):
            self._between(node.left, node.right, OPERATIONS)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in itertools.pairwise(node.values):
            self._between(left, right, {"and": "or", "or": "and"})
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, (ast.Not, ast.USub)):
            self._add(node, self._start(node), self._start(node.operand), "")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self._add(node.test, self._start(node.test), self._start(node.test), "not ")
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._add(node.test, self._start(node.test), self._start(node.test), "not ")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._between(node.target, node.value, {"+=": "-=", "-=": "+=", "*=": "/=", "/=": "*="})
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._add(node, self._start(node), self._end(node), "pass")
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in GUARDS:
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in NAMES:
            self._add(node, self._start(node), self._end(node), NAMES[node.id])

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            changed = str(not value)
        elif isinstance(value, int):
            changed = str(value + 1)
        elif isinstance(value, float):
            changed = repr(2 * value) if value else "1.0"
        else:
            return
        self._add(node, self._start(node), self._end(node), changed)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leaves texts alone."""

    def _between(self, left: ast.expr, right: ast.expr, swaps: dict[str, str]) -> None:
        start, end = self._end(left), self._start(right)
        gap = self._text[start:end]
        operator = gap.replace("(", " ").replace(")", " ").strip()
        if operator in swaps and gap.count(operator) == 1:
            place = start + gap.index(operator)
            self._add(right, place, place + len(operator), swaps[operator])

    def _add(self, node: ast.expr | ast.stmt, start: int, end: int, replacement: str) -> None:
        function = self._functions[-1] if self._functions else None
        change = Change(self._file, node.lineno, start, end, replacement, function)
        try:
            ast.parse(change.source(self._text))
        except SyntaxError:
            return
        self.changes.append(change)

    def _start(self, node: ast.expr | ast.stmt) -> int:
        return self._character(node.lineno, node.col_offset)

    def _end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._character(node.end_lineno, node.end_col_offset)

    def _character(self, line: int, column: int) -> int:
        return len(self._text.encode()[: self._bytes[line - 1] + column].decode())


def draw(folders: Sequence[str], n: int, seed: int, root: Path = ROOT) -> list[Change]:
    """Draws `n` changes of the sources in some folders, at most one a line."""
    every: dict[tuple[str, int], list[Change]] = {}
    for path in sorted(p for folder in folders for p in _sources(root / folder)):
        file = str(path.relative_to(root))
        for change in Finder(file, path.read_text()).changes:
            every.setdefault((file, change.line), []).append(change)
    rng = Random(seed)
    lines = rng.sample(sorted(every), min(n, len(every)))
    return [rng.choice(every[line]) for line in lines]


class Hunt:
    """Runs for every change the tests that reach its function, until one fails."""

    def __init__(self, sandboxes: Sequence[Sandbox], changes: Sequence[Change]) -> None:
        self._sandboxes = sandboxes
        self._root = sandboxes[0].root
        self._waiting = list(changes)
        self.killed, self.survived, self.unreached = 0, 0, 0

    def run(self) -> None:
        """Traces the tests once, then runs the changes."""
        reached = self._trace()
        running: dict[int, Change] = {}
        while self._waiting or running:
            for i, sandbox in enumerate(self._sandboxes):
                while i not in running and self._waiting:
                    change = self._waiting.pop(0)
                    if self._start(sandbox, change, reached):
                        running[i] = change
            wait([s.sentinel for i in running if (s := self._sandboxes[i]).sentinel], timeout=0.5)
            for i in list(running):
                result = self._sandboxes[i].poll()
                if result is not None:
                    self._sandboxes[i].restore()
                    self._judge(running.pop(i), result)

    def _trace(self) -> dict[str, list[str]]:
        folders = sorted({tests for c in self._waiting for tests in _tests_of(c.file, self._root)})
        self._sandboxes[0].start(
            folders, limit=TRACE_LIMIT, marks="not slow and not gpu", trace=True
        )
        while (result := self._sandboxes[0].poll()) is None:
            time.sleep(0.2)
        bad = {test for test, outcome in result.outcomes.items() if outcome in ("failed", "broken")}
        if bad or not result.reached:
            raise SystemExit(f"Tests fail without a change: {sorted(bad)}\n{result.output}")
        by_function: dict[str, list[str]] = {}
        for test, functions in result.reached.items():
            for function in functions:
                by_function.setdefault(function, []).append(test)
        return by_function

    def _start(self, sandbox: Sandbox, change: Change, reached: dict[str, list[str]]) -> bool:
        text = (self._root / change.file).read_text()
        if change.function is None:
            tests = _tests_of(change.file, self._root)
        else:
            tests = reached.get(f"{change.file}:{change.function}", [])
        if not tests:
            self.unreached += 1
            print(f"unreached  {change.show(text)}", flush=True)
            return False
        # The tests of the module itself come first.
        own = f"test_{Path(change.file).stem.strip('_')}.py"
        tests = sorted(tests, key=lambda test: own not in test)
        sandbox.change(change.file, change.source(text))
        sandbox.start(tests, limit=LIMIT, first_failure=True)
        return True

    def _judge(self, change: Change, result: Result) -> None:
        noticed = result.timed_out or not result.outcomes
        noticed = noticed or any(o in ("failed", "broken") for o in result.outcomes.values())
        self.killed += noticed
        self.survived += not noticed
        if not noticed:
            print(f"survived   {change.show((self._root / change.file).read_text())}", flush=True)


def _sources(path: Path) -> Iterator[Path]:
    yield from [path] if path.suffix == ".py" else path.rglob("*.py")


def _tests_of(file: str, root: Path) -> list[str]:
    package = Path(file).parts[1]
    folders = [package, *TESTS.get(package, [])]
    return [f"tests/{folder}" for folder in folders if (root / "tests" / folder).exists()]


def main() -> None:
    """Draws changes, runs their tests and prints those that nothing noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations.blind", description=__doc__)
    parser.add_argument("folders", nargs="+", help="such as nas_plugin/strategies")
    parser.add_argument("--n", type=int, default=60, help="how many changes")
    parser.add_argument("--seed", type=int, default=0, help="which changes")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    chosen = parser.parse_args()
    began = time.monotonic()
    os.environ.setdefault("NAS_PLUGIN_DATA", str(ROOT.parent / "shared" / "data"))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    changes = draw(chosen.folders, chosen.n, chosen.seed)
    import torch  # once, for every fork

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="mutations-") as scratch:
        hunt = Hunt([Sandbox(ROOT, Path(scratch) / str(i)) for i in range(chosen.workers)], changes)
        hunt.run()
    total = len(changes)
    print(
        f"\n{hunt.killed} of {total} killed ({100 * hunt.killed / max(total, 1):.1f} %); "
        f"{hunt.survived} survived, {hunt.unreached} reached by no test; "
        f"{time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
