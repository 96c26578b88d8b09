"""Ready search spaces by name: builders that this and other distributions register.

A distribution adds one by an entry point of the group ``nas_plugin.spaces``, for example
``darts = search_spaces.darts:darts``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nas_plugin.registry import Registry

#: Name → what makes the model of a space; its keyword arguments are the sizes of the network.
spaces: Registry[Callable[..., Any]] = Registry("search space", group="nas_plugin.spaces")
