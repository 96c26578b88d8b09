"""Damages valid files in known ways and reads them: each is read, or refused by an error of ours.

python -m tests.files.fuzz --seconds 30 --seed 0 [--only NAME ...]

Prints one JSON object: how many files were read, refused, and what escaped. The process limits
its own memory; a file on which it dies or hangs is left in the folder that it prints first.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import json
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas_plugin.errors import NasError
from tests.files.loaders import LOADERS, Loader

MEMORY = 3 * 2**30
SECONDS_A_FILE = 10
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_NUMBERS = (
    b"NaN", b"Infinity", b"-1", b"0", b"1e39", b"1e400", b"9" * 25, b"9" * 5000, b"1" * 400,
    b"2147483648", b"18446744073709551616", b"true", b"null", b'"x"', b"[]", b"{}", b"0x10", b"",
)  # fmt: skip
_SPLICES = (
    b"[" * 100_000, b'{"a":' * 50_000, b"(" * 2000, b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800",
    b"\0" * 64, b"\n", b",", b'"', b"'", b"\xf0\x9f\x92\xa9", b"&a [*a]", b"!!python/none x",
    b"\x80\x04\x95", b"\x85" * 100_000, b"q\x01h\x01\x86" * 40, b"r\xff\xff\xff\x7f",
)  # fmt: skip


def bits(data: bytes, rng: random.Random) -> bytes:
    """Flips one to eight bits."""
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if damaged:
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def cut(data: bytes, rng: random.Random) -> bytes:
    """Cuts the end off."""
    return data[: rng.randrange(len(data) + 1)]


def drop(data: bytes, rng: random.Random) -> bytes:
    """Takes a part out."""
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[end:]


def double(data: bytes, rng: random.Random) -> bytes:
    """Repeats a part."""
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] * rng.choice((1, 1, 2, 50)) + data[end:]


def number(data: bytes, rng: random.Random) -> bytes:
    """Puts something else in place of a number in a text, or a large number into bytes."""
    found = list(_NUMBER.finditer(data))
    if not found:
        return bits(data, rng)
    place = rng.choice(found)
    return data[: place.start()] + rng.choice(_NUMBERS) + data[place.end() :]


def word(data: bytes, rng: random.Random) -> bytes:
    """Overwrites four or eight bytes by an extreme integer."""
    width = rng.choice((4, 8))
    value = rng.choice((0, 1, 2**31 - 1, 2**31, 2 ** (8 * width) - 1, 2**24))
    start = rng.randrange(max(1, len(data) - width + 1))
    raw = value.to_bytes(width, rng.choice(("little", "big")))
    return data[:start] + raw + data[start + width :]


def splice(data: bytes, rng: random.Random) -> bytes:
    """Inserts nesting, broken text, or opcodes."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(_SPLICES) + data[place:]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    bits, bits, cut, drop, double, number, number, word, word, splice, splice,
)  # fmt: skip


def damaged(loader: Loader, rng: random.Random) -> bytes:
    """Returns a damaged file: inside its packing and check sums, outside, or a bomb."""
    if rng.random() < 0.01:
        if rng.random() < 0.5:
            return gzip.compress(bytes(2**27), 1)
        return loader.seal((loader.content * 1000)[: 2**22])
    if rng.random() < 0.7:
        content = loader.content
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            content = rng.choice(MUTATIONS)(content, rng)
        return loader.seal(content)
    return rng.choice(MUTATIONS)(loader.seal(loader.content), rng)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzzes for a time and prints what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", type=int, default=None, help="at most so many files")
    parser.add_argument("--only", nargs="*", default=sorted(LOADERS))
    args = parser.parse_args(arguments)
    faulthandler.enable()
    warnings.simplefilter("error")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    print(folder, file=sys.stderr, flush=True)
    for name in args.only:  # what is imported counts as no file's memory or time
        _read(LOADERS[name], LOADERS[name].seal(LOADERS[name].content), folder / name)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGPROF, _too_slow)
    counts: dict[str, list[int]] = {name: [0, 0] for name in args.only}
    escapes: list[dict[str, Any]] = []
    rng = random.Random(args.seed)
    end = time.monotonic() + args.seconds
    for number_of_file in range(args.files or 10**9):
        if time.monotonic() > end:
            break
        name = args.only[number_of_file % len(args.only)]
        content = damaged(LOADERS[name], rng)
        signal.setitimer(signal.ITIMER_PROF, SECONDS_A_FILE)
        try:
            refused = _read(LOADERS[name], content, folder / name)
            counts[name][refused] += 1
        except BaseException as error:  # the question is which others there are
            signal.setitimer(signal.ITIMER_PROF, 0)
            kept = folder / f"escape{len(escapes)}"
            kept.write_bytes(content)
            where = traceback.extract_tb(error.__traceback__)[-1]
            shown = f"{type(error).__name__}: {str(error)[:200]} ({where.filename}:{where.lineno})"
            escapes.append({"loader": name, "error": shown, "file": str(kept)})
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    total = sum(read + refused for read, refused in counts.values()) + len(escapes)
    print(json.dumps({"files": total, "read, refused": counts, "escapes": escapes}))
    return 1 if escapes else 0


def _read(loader: Loader, content: bytes, folder: Path) -> bool:
    """Reads a file; says whether it was refused by an error of ours."""
    path = folder / loader.name
    path.parent.mkdir(parents=True, exist_ok=True)
    loader.makes(folder)
    path.write_bytes(content)
    try:
        loader.load(path)
    except NasError:
        return True
    return False


def _too_slow(*_: Any) -> None:
    raise TimeoutError(f"a file took more than {SECONDS_A_FILE} s of the processor")


if __name__ == "__main__":
    sys.exit(main())
