"""Builds the native executor's library with the machine's own compiler, once, and loads it.

The library has a plain C interface and is called through `ctypes`. It includes no header of torch:
it builds in a fraction of the time, needs no ninja, and any torch can load it.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nas_plugin.errors import NasError

SOURCES = Path(__file__).parent / "csrc"
#: Of the messages between `native_call.py` and the library; `sizes.cpp` says the same.
VERSION = 1
COMPILERS = ("g++", "c++", "clang++")
# torch's own threads. clang would bring a second OpenMP beside torch's: it builds for one thread.
THREADS = "-fopenmp"
# Not -ffast-math, which lets the whole process flush small numbers to zero.
FLAGS = (
    "-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
    "-fPIC", "-Wno-psabi",
)  # fmt: skip
FUNCTIONS = (
    "nas_sizes", "nas_forward_float", "nas_forward_double", "nas_backward_float",
    "nas_backward_double",
)  # fmt: skip
CACHE_VARIABLE = "NAS_PLUGIN_CACHE"

_log = logging.getLogger(__name__)


class BuildError(NasError):
    """The native library cannot be built or loaded."""


@dataclass(frozen=True)
class Toolchain:
    """What compiles.

    Args:
        compiler: Path of a C++ compiler.
        flags: `FLAGS`, that of this processor where the compiler knows one, and `THREADS`.
        key: Changes with the sources, the compiler, the processor and the flags.
    """

    compiler: str
    flags: tuple[str, ...]
    key: str


def compiler() -> str | None:
    """Returns the path of the compiler: that of CXX, or the first of `COMPILERS`."""
    names = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    return next((path for path in map(shutil.which, names) if path is not None), None)


def cache_folder() -> Path:
    """Returns where libraries are kept: ``NAS_PLUGIN_CACHE``, or a folder of the user's cache."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "nas_plugin"


def why_not() -> str | None:
    """Returns why nothing can be built here, as far as that is known without trying."""
    if not sys.platform.startswith("linux"):
        return f"it is built on Linux only, not on {sys.platform}"
    if compiler() is None:
        wanted = os.environ.get("CXX") or ", ".join(COMPILERS)
        return f"there is no C++ compiler ({wanted}); install one, such as g++"
    return None


def toolchain() -> Toolchain:
    """Returns the compiler and its flags.

    Raises:
        BuildError: If there is none, or it does not run.
    """
    reason = why_not()
    found = compiler()
    if reason is not None or found is None:
        raise BuildError(reason or "there is no C++ compiler")
    errors = []
    # What the compiler defines tells its version and the processor's instructions.
    for target in (("-march=native",), ("-mcpu=native",), ()):
        command = [found, *target, "-dM", "-E", "-x", "c++", os.devnull]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise BuildError(f"{found} does not run: {error}") from error
        if done.returncode == 0:
            digest = hashlib.sha256()
            for path in sorted(SOURCES.iterdir()):
                if path.suffix in (".cpp", ".h"):
                    digest.update(path.name.encode() + path.read_bytes())
            threads = () if "__clang__" in done.stdout else (THREADS,)
            flags = (*FLAGS, *target, *threads)
            digest.update(repr((flags, found)).encode() + done.stdout.encode())
            return Toolchain(found, flags, digest.hexdigest()[:20])
        errors.append(done.stderr.strip())
    raise BuildError(f"{found} does not run: {errors[-1]}")


def library_path(tools: Toolchain) -> Path:
    """Returns where the library of this machine lies or will lie."""
    return cache_folder() / f"native-{tools.key}.so"


def built(tools: Toolchain) -> bool:
    """Says whether the library is there and is what was written."""
    path = library_path(tools)
    try:
        return _digest(path) == path.with_suffix(".sha256").read_text().strip()
    except OSError:
        return False


def build(tools: Toolchain) -> Path:
    """Builds the library unless it is there; processes that want it at once wait for one of them.

    Raises:
        BuildError: If the compiler fails or the cache cannot be written.
    """
    path = library_path(tools)
    if built(tools):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            if not built(tools):
                _compile(tools, path)
    except OSError as error:
        raise BuildError(
            f"the cache {path.parent} cannot be written ({error.strerror or error}); "
            f"set {CACHE_VARIABLE} to a folder that can"
        ) from error
    return path


@cache
def library() -> ctypes.CDLL:
    """Returns the loaded library, built where it was not.

    Raises:
        BuildError: If it cannot be built or loaded.
    """
    path = build(toolchain())
    try:
        loaded = ctypes.CDLL(str(path))
        version = loaded.nas_version()
        for name in FUNCTIONS:
            getattr(loaded, name).restype = ctypes.c_char_p
    except (OSError, AttributeError) as error:
        raise BuildError(f"{path} does not load: {error}") from error
    if version != VERSION:
        raise BuildError(f"{path} speaks version {version}, not {VERSION}; delete it")
    return loaded


@cache
def failure() -> str | None:
    """Tries once in a process to load the library; returns why it failed, and says so."""
    try:
        library()
    except BuildError as error:
        _log.warning("The native executor is not used: %s.", error)
        return str(error)
    return None


def _compile(tools: Toolchain, path: Path) -> None:
    """Compiles all sources side by side and puts the library in place in one go."""
    sources = sorted(SOURCES.glob("*.cpp"))
    start = time.monotonic()
    _say("nas_plugin: building the native executor, once for this machine (half a minute):")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as folder:
        objects = [Path(folder) / f"{source.stem}.o" for source in sources]

        done: list[Path] = []

        def one(pair: tuple[Path, Path]) -> None:
            source, to = pair
            _run([tools.compiler, *tools.flags, "-c", str(source), "-o", str(to)])
            done.append(source)
            _say(f" {len(done)}/{len(sources)}")

        try:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(one, zip(sources, objects, strict=True)))
            made = Path(folder) / "library.so"
            _run([tools.compiler, "-shared", *tools.flags, *map(str, objects), "-o", str(made)])
        finally:
            _say(f", {time.monotonic() - start:.0f} s\n")
        checksum = Path(folder) / "sha256"
        checksum.write_text(_digest(made) + "\n")
        # A process that was killed between the two leaves what `built` does not accept.
        os.replace(made, path)
        os.replace(checksum, path.with_suffix(".sha256"))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        shown = next((line for line in lines if "error" in line), lines[-1] if lines else "")
        raise BuildError(f"`{command[0]}` failed with exit code {done.returncode}: {shown}")


def _say(text: str) -> None:
    # Not a log line: it grows while the user waits.
    print(text, end="", file=sys.stderr, flush=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock among processes; it falls with the process that holds it."""
    import fcntl  # not on Windows, where nothing is built

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
