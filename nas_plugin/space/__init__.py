"""Search spaces and architectures; what needs a model loads torch on first use."""

from nas_plugin._lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Architecture": "nas_plugin.space.architecture",
        "Choice": "nas_plugin.space.choice",
        "SearchSpace": "nas_plugin.space.search_space",
        "apply_fixed_architecture": "nas_plugin.space.fix",
        "build": "nas_plugin.space.build",
        "crossover": "nas_plugin.space.neighbours",
        "discretize": "nas_plugin.space.discretize",
        "mutate": "nas_plugin.space.neighbours",
        "neighbours": "nas_plugin.space.neighbours",
        "search_space": "nas_plugin.space.collect",
    },
)
