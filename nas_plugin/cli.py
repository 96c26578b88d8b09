"""The command line: one module of `nas_plugin.commands` a command."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import logging
import pkgutil
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from nas_plugin import __version__, commands
from nas_plugin.errors import NasError
from nas_plugin.signals import begin_work, handle_signals

#: What a disk or its owner refuses, as against a mistake of the program.
_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 1 run-time, 2 usage, 130 interrupted.

    Args:
        argv: The words; those of the process if None, which then ends on signals with their codes.
    """
    if argv is None:
        handle_signals()
    parser = argparse.ArgumentParser(
        prog="nas-plugin", description="Neural architecture search for PyTorch."
    )
    parser.add_argument("--version", action="version", version=f"nas-plugin {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in command_modules():
        command = subparsers.add_parser(module.NAME, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.set_defaults(command=module.run)
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "command"):
        parser.print_help()
        return 2
    return guarded(lambda: arguments.command(arguments))


def command_modules() -> list[ModuleType]:
    """Returns the modules that define NAME, HELP, add_arguments and run.

    They import what is heavy inside `run`, so that ``--help`` is quick.
    """
    names = sorted(info.name for info in pkgutil.iter_modules(commands.__path__))
    modules = [importlib.import_module(f"{commands.__name__}.{name}") for name in names]
    return [module for module in modules if hasattr(module, "NAME")]


def guarded(action: Callable[[], int | None]) -> int:
    """Runs `action`; shows an error of nas_plugin as one line instead of a traceback.

    So is what the system refuses: a disk that is full, a file that may not be written.
    """
    begin_work()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return action() or 0
    except NasError as error:
        _say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except BrokenPipeError:
        # The reader of a pipe left (nas-plugin ... | head); that is not our error.
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _say(
            f"error: {where}{error.strerror}. What was written before stays; make room or give "
            "another folder, and go on with --resume where there is one."
        )
        return 1


def _say(message: str) -> None:
    # Where stderr itself lies on the full disk, the exit code must do.
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)
