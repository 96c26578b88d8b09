"""Faster ways to run choice blocks, each equal to the blocks' own forward."""

from nas_plugin.execution.dispatch import (
    Dispatcher,
    Executor,
    attach,
    executors,
    explain,
    verify,
)

__all__ = ["Dispatcher", "Executor", "attach", "executors", "explain", "verify"]
