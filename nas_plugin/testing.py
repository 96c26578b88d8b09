"""Contracts and the planted problem, for this project's tests and those of extensions."""

from nas_plugin._lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "EXECUTOR_CHECKS": "nas_plugin.contracts.executor",
        "GroupedPointwise": "nas_plugin.contracts.executor",
        "MUTATOR_CHECKS": "nas_plugin.contracts.mutator",
        "PlantedProblem": "nas_plugin.contracts.planted",
        "STRATEGY_CHECKS": "nas_plugin.contracts.strategy",
        "TRAPS": "nas_plugin.contracts.traps",
        "SmoothNet": "nas_plugin.contracts.smooth",
        "planted_problem": "nas_plugin.contracts.planted",
        "smooth_net": "nas_plugin.contracts.smooth",
        "trap": "nas_plugin.contracts.traps",
    },
)
