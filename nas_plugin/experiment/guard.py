"""How the guard of the web portal is loaded into NNI's manager."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from nas_plugin.errors import OptionError

#: Set by the guard in the manager and so in all its children.
GUARD_VARIABLE = "NAS_PLUGIN_GUARD"
#: Set by the guard to "exact" once it, or NNI, files parameters under the id of their trial.
ROWS_VARIABLE = "NAS_PLUGIN_ROWS"

UNSURE_ROWS = (
    "The rows of the portal and of NNI's export may show the architecture of another trial: they "
    "carry the mark _row. The journal is right: nas-plugin experiment show, export and check."
)

ADVICE = (
    "The web portal of this experiment listens on all addresses without a password, and a web "
    "page that you visit can run commands through it. Close it by starting the experiment with "
    "`nas-plugin experiment create`, or by this line before nnictl:\n"
    '    export NODE_OPTIONS="$(nas-plugin experiment guard)"'
)


def guard_option() -> str:
    """Returns the value of NODE_OPTIONS that loads the guard."""
    path = str(Path(__file__).with_name("guard.js"))
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'--require "{escaped}"' if " " in path else f"--require {path}"


def guard_environment(listen: str | None = None, hosts: Sequence[str] = ()) -> dict[str, str]:
    """Returns the environment variables of a guarded manager.

    Args:
        listen: An address that other machines can reach; None is this machine only.
        hosts: Names by which other machines call this one, beside its addresses.
    """
    if hosts and listen is None:
        raise OptionError("hosts need listen: a portal on the loopback address has no other name.")
    environment = {"NODE_OPTIONS": guard_option()}
    if listen is not None:
        environment["NAS_PLUGIN_LISTEN"] = listen
        environment["NAS_PLUGIN_HOSTS"] = ",".join(hosts)
    return environment


def guard_address() -> str | None:
    """Returns the address that the guard lets this process's manager listen on; None: no guard."""
    return os.environ.get(GUARD_VARIABLE)


def rows_are_exact() -> bool:
    """Says whether NNI's portal and export show what each trial ran, in this process's manager."""
    return os.environ.get(ROWS_VARIABLE) == "exact"
