"""Neural architecture search for PyTorch, as a plugin to NNI.

Public names load on first use: a table must not import torch, torch must not import nni.
"""

from nas_plugin._lazy import lazy_names

__version__ = "0.1.0"

_EXPORTS = {
    "Architecture": "nas_plugin.space.architecture",
    "ArchitectureCheckpoint": "nas_plugin.trainers",
    "Binding": "nas_plugin.choice",
    "Callback": "nas_plugin.trainers",
    "Cell": "nas_plugin.choice",
    "DartsMutator": "nas_plugin.mutators",
    "DartsTrainer": "nas_plugin.trainers",
    "Decision": "nas_plugin.choice",
    "InputChoice": "nas_plugin.choice",
    "LRSchedulerCallback": "nas_plugin.trainers",
    "LayerChoice": "nas_plugin.choice",
    "ModelCheckpoint": "nas_plugin.trainers",
    "Mutable": "nas_plugin.choice",
    "MutableScope": "nas_plugin.choice",
    "Mutator": "nas_plugin.mutators",
    "NasError": "nas_plugin.errors",
    "RandomMutator": "nas_plugin.mutators",
    "Repeat": "nas_plugin.choice",
    "RetrainTrainer": "nas_plugin.trainers",
    "Rule": "nas_plugin.choice.annotate",
    "SearchSpace": "nas_plugin.space.search_space",
    "ValueChoice": "nas_plugin.choice",
    "annotate": "nas_plugin.choice.annotate",
    "apply_fixed_architecture": "nas_plugin.space.fix",
    "build": "nas_plugin.space.build",
    "fan_out": "nas_plugin.choice.fan_out",
    "get_and_apply_next_architecture": "nas_plugin.experiment.apply",
    "search_space": "nas_plugin.space.collect",
    "spaces": "nas_plugin.space.spaces",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _EXPORTS)
