"""What is imported is declared, and what is declared is imported."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MINIMUM = ROOT / "constraints-minimum.txt"
OURS = {"nas_plugin", "search_spaces", "examples", "tests"}
#: Distribution → what it is imported as, where the names differ.
IMPORTED_AS = {"pillow": "PIL", "protobuf": "google", "pyyaml": "yaml", "scikit-learn": "sklearn"}
#: Module → the module of the distribution that brings it.
COMES_WITH = {"nni_node": "nni"}
#: Declared, but never imported here, and why.
NOT_IMPORTED = {
    "setuptools": "nnictl imports its pkg_resources",
    "onnx": "torch.onnx.export writes through it",
    "onnxscript": "torch.onnx.export writes through it",
    "torchvision": "the user's own transforms and data sets",
    "build": "makes the wheel",
    "mypy": "a command",
    "pytest-xdist": "a plugin of pytest: -n",
    "ruff": "a command",
    "types-pyyaml": "types only",
}


def declared() -> dict[str, set[str]]:
    """Returns extra (or "" for all installations) → names of distributions."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    found = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {extra: set(names(text)) for extra, text in found.items()}


def names(text: str) -> list[str]:
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return [re.split(r"[<>=!~;\[ ]", line)[0].lower() for line in lines if line]


def imported(*folders: str) -> dict[str, str]:
    """Returns third-party module → one file that imports it, inside functions too."""
    found: dict[str, str] = {}
    for path in [path for folder in folders for path in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            for top in {module.split(".")[0] for module in modules}:
                beside = (path.parent / f"{top}.py").exists()
                if top not in sys.stdlib_module_names and top not in OURS and not beside:
                    found[COMES_WITH.get(top, top)] = str(path.relative_to(ROOT))
    return found


def modules_of(distributions: set[str]) -> set[str]:
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in distributions}


def test_everything_that_is_imported_is_declared() -> None:
    core = modules_of(declared()[""])
    extras = modules_of(set().union(*declared().values()))

    for module, path in imported("nas_plugin", "search_spaces").items():
        # An extra may lack at run time, and the code says so; only the core is always there.
        assert module in extras, f"{path} imports {module}, which setup.cfg does not declare"
        if module not in core:
            source = (ROOT / path).read_text()
            assert f"nas-plugin[{extra_of(module)}]" in source, f"{path} hides the extra"
    for module, path in imported("examples", "perf", "tests").items():
        assert module in extras, f"{path} imports {module}, which setup.cfg does not declare"


def extra_of(module: str) -> str:
    return next(e for e, dists in declared().items() if e != "dev" and module in modules_of(dists))


def test_everything_that_is_declared_is_imported() -> None:
    used = set(imported("nas_plugin", "search_spaces", "tests"))

    for extra, distributions in declared().items():
        for distribution in distributions - set(NOT_IMPORTED):
            module = modules_of({distribution}).pop()
            assert module in used, f"setup.cfg declares {distribution} ({extra}); nobody imports it"


def test_the_declared_minimum_versions_are_those_that_are_tested() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = (config["options"]["install_requires"], config["options.extras_require"]["plots"])
    declared_least = dict(re.findall(r"^([\w-]+)>=([\d.]+)", "\n".join(texts), re.M))
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)", MINIMUM.read_text(), re.M))
    tested = {name.lower(): version for name, version in pinned.items()}

    assert len(declared_least) >= 13
    for name, least in declared_least.items():
        if name != "torch":  # of which no small wheel is that old
            assert numbers(tested[name.lower()]) == numbers(least), name


def numbers(version: str) -> list[int]:
    """Returns a version without zeros at its end: 6 is 6.0.0."""
    found = [int(part) for part in version.split(".")]
    while found[-1:] == [0]:
        found.pop()
    return found


# Windows has none of these, and a Python without them imports as it does.
_HIDDEN = ("fcntl", "grp", "nis", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty")
_SIGNALS = ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGSTOP", "SIGCONT", "SIGALRM", "SIGQUIT")
_OS = ("fork", "forkpty", "getuid", "geteuid", "getpgid", "killpg", "setsid", "uname",
       "O_DIRECTORY", "fchmod", "sched_getaffinity", "WIFSIGNALED", "WEXITSTATUS")  # fmt: skip
AS_ON_WINDOWS = f"""
import os, signal, sys
import json, pkgutil, subprocess, tempfile, shutil, importlib, multiprocessing, logging, socket
import torch, numpy, yaml, psutil, tqdm, sklearn.datasets, json_tricks
PREFIXES = ("nas_plugin", "search_spaces")

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in {_HIDDEN!r}:
            frame = sys._getframe()
            while frame is not None:
                if frame.f_globals.get("__name__", "").startswith(PREFIXES):
                    raise ModuleNotFoundError(f"No module named '{{name}}'")
                frame = frame.f_back
        return None

for name in {_HIDDEN!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
try:
    exec("import fcntl", {{"__name__": "nas_plugin.probe"}})
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("nothing is hidden")
for name in {_SIGNALS!r}:
    if hasattr(signal, name):
        delattr(signal, name)
for name in {_OS!r}:
    if hasattr(os, name):
        delattr(os, name)
"""


def on_windows(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"{AS_ON_WINDOWS}\n{code}"], cwd=folder, text=True,
        capture_output=True, check=False, timeout=300,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.processes
def test_every_module_imports_without_what_only_posix_has(tmp_path: Path) -> None:
    printed = on_windows(
        "import nas_plugin, search_spaces\n"
        "names = [m.name for p in (nas_plugin, search_spaces)"
        " for m in pkgutil.walk_packages(p.__path__, p.__name__ + '.')"
        " if not m.name.endswith('__main__')]\n"
        "for name in names: importlib.import_module(name)\n"
        "print(len(names))",
        tmp_path,
    )
    assert int(printed.splitlines()[-1]) > 150


@pytest.mark.processes
def test_commands_and_a_search_run_without_what_only_posix_has(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("op,epochs,accuracy\nconv,1,0.5\nskip,1,0.25\n")
    printed = on_windows(
        "from nas_plugin.cli import main\n"
        "from search_spaces.nasbench201 import nasbench201\n"
        "for words in ('bench import mine.csv', 'bench compare --benchmark mine "
        "--strategies random --seeds 2 --workers 1 --budget-trials 2 --out compared', "
        "'profile --space nasbench201 --input 1,3,8,8'):\n"
        "    assert main(words.split()) == 0, words\n"
        "from nas_plugin.trainers import DartsTrainer, accuracy\n"
        "from nas_plugin.data import load_data\n"
        "model = nasbench201(channels=4, cells=1, classes=10, in_channels=1)\n"
        "data = load_data('digits', limit=64)\n"
        "search = DartsTrainer(model, torch.nn.functional.cross_entropy, accuracy,"
        " torch.optim.SGD(model.parameters(), 0.1), 1, data, data, batch_size=16, device='cpu',"
        " checkpoint_dir='checkpoints')\n"
        "search.train()\n"
        "print(search.export('architecture.json'))",
        tmp_path,
    )
    assert "Architecture(" in printed
