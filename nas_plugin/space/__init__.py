"""Search spaces and architectures, without torch; what needs a model loads it on first use.

`build` and `search_space` are public as `nas_plugin.build` and `nas_plugin.search_space`: here they
are the names of modules.
"""

from typing import Any

from nas_plugin._lazy import lazy_names
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Choice
from nas_plugin.space.discretize import discretize
from nas_plugin.space.neighbours import crossover, mutate, neighbours
from nas_plugin.space.search_space import SearchSpace

_load, _, _lazy = lazy_names(
    __name__,
    {
        "apply_fixed_architecture": "nas_plugin.space.fix",
        "read_architecture": "nas_plugin.space.fix",
    },
)
__all__ = [
    "Architecture",
    "Choice",
    "SearchSpace",
    "crossover",
    "discretize",
    "mutate",
    "neighbours",
    *_lazy,
]


def __getattr__(name: str) -> Any:
    return _load(name)
