"""``nas-plugin doctor``: what searches run on here, and why."""

from __future__ import annotations

import argparse

NAME = "doctor"
HELP = "say what a search would run on here, and why"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds no option."""


def run(args: argparse.Namespace) -> int:
    """Prints versions, threads and devices, and the state of every executor."""
    import platform

    import torch

    from nas_plugin import __version__
    from nas_plugin.execution import executors

    print(f"nas_plugin {__version__}, Python {platform.python_version()}, {platform.platform()}")
    print(f"torch      {torch.__version__}, {torch.get_num_threads()} threads, "
          f"{torch.backends.cpu.get_cpu_capability()}")  # fmt: skip
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    print(f"GPU        {cuda}")
    for name in executors.names():
        reason = executors.get(name).unavailable()
        state = "can be used" if reason is None else f"cannot be used: {reason}"
        print(f"{name:<10} {state}")
        if name == "native" and reason is None:
            print(_native())
    print("execution='auto' uses native on the CPU where it can be used, then wide; what neither "
          "serves runs as the modules it is.")  # fmt: skip
    return 0


def _native() -> str:
    from nas_plugin.execution import build

    try:
        tools = build.toolchain()
    except build.BuildError as error:
        return f"           but {error}"
    path = build.library_path(tools)
    threads = "torch's threads" if build.THREADS in tools.flags else "one thread (clang)"
    compiler = f"           compiler {tools.compiler}, {threads}\n"
    if not build.built(tools):
        return compiler + f"           to be built at first use, or by nas-plugin build: {path}"
    failure = build.failure()
    return compiler + f"           {path}: {'loads' if failure is None else failure}"
