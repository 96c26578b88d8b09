"""Faster ways to run choice blocks, each equal to the blocks' own forward."""

from nas_plugin.execution.advice import layout_advice
from nas_plugin.execution.attach import attach, executions
from nas_plugin.execution.dispatch import Dispatcher
from nas_plugin.execution.executor import Executor, Offer, Plan, Planned, executors
from nas_plugin.execution.explain import Service, explain, services
from nas_plugin.execution.native import NativeExecutor
from nas_plugin.execution.verify import verify
from nas_plugin.execution.wide import WideExecutor

__all__ = [
    "Dispatcher",
    "Executor",
    "NativeExecutor",
    "Offer",
    "Plan",
    "Planned",
    "Service",
    "WideExecutor",
    "attach",
    "executions",
    "executors",
    "explain",
    "layout_advice",
    "services",
    "verify",
]
