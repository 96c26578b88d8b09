"""Neural architecture search for PyTorch, as a plugin to NNI.

Public names load on first use: a table must not import torch, torch must not import nni.
"""

from typing import TYPE_CHECKING

from nas_plugin._lazy import lazy_names

if TYPE_CHECKING:  # what editors and type checkers see; the same as `_EXPORTS`
    from nas_plugin.choice import (
        Binding as Binding,
    )
    from nas_plugin.choice import (
        Cell as Cell,
    )
    from nas_plugin.choice import (
        Decision as Decision,
    )
    from nas_plugin.choice import (
        InputChoice as InputChoice,
    )
    from nas_plugin.choice import (
        LayerChoice as LayerChoice,
    )
    from nas_plugin.choice import (
        Mutable as Mutable,
    )
    from nas_plugin.choice import (
        MutableScope as MutableScope,
    )
    from nas_plugin.choice import (
        Repeat as Repeat,
    )
    from nas_plugin.choice import (
        ValueChoice as ValueChoice,
    )
    from nas_plugin.choice.annotate import (
        Rule as Rule,
    )
    from nas_plugin.choice.annotate import (
        annotate as annotate,
    )
    from nas_plugin.choice.fan_out import fan_out as fan_out
    from nas_plugin.data import load_data as load_data
    from nas_plugin.errors import NasError as NasError
    from nas_plugin.experiment.apply import (
        get_and_apply_next_architecture as get_and_apply_next_architecture,
    )
    from nas_plugin.mutators import (
        DartsMutator as DartsMutator,
    )
    from nas_plugin.mutators import (
        DataMutator as DataMutator,
    )
    from nas_plugin.mutators import (
        DidartsMutator as DidartsMutator,
    )
    from nas_plugin.mutators import (
        DifferentiableMutator as DifferentiableMutator,
    )
    from nas_plugin.mutators import (
        DrnasMutator as DrnasMutator,
    )
    from nas_plugin.mutators import (
        EnasMutator as EnasMutator,
    )
    from nas_plugin.mutators import (
        FairDartsMutator as FairDartsMutator,
    )
    from nas_plugin.mutators import (
        FairNasMutator as FairNasMutator,
    )
    from nas_plugin.mutators import (
        FbnetMutator as FbnetMutator,
    )
    from nas_plugin.mutators import (
        GdasMutator as GdasMutator,
    )
    from nas_plugin.mutators import (
        Mutator as Mutator,
    )
    from nas_plugin.mutators import (
        PcDartsMutator as PcDartsMutator,
    )
    from nas_plugin.mutators import (
        ProxylessMutator as ProxylessMutator,
    )
    from nas_plugin.mutators import (
        RandomMutator as RandomMutator,
    )
    from nas_plugin.mutators import (
        ReinmaxMutator as ReinmaxMutator,
    )
    from nas_plugin.mutators import (
        SnasMutator as SnasMutator,
    )
    from nas_plugin.mutators import (
        SposMutator as SposMutator,
    )
    from nas_plugin.mutators import (
        XnasMutator as XnasMutator,
    )
    from nas_plugin.parameters import parameters_of as parameters_of
    from nas_plugin.space.architecture import Architecture as Architecture
    from nas_plugin.space.build import build as build
    from nas_plugin.space.collect import search_space as search_space
    from nas_plugin.space.fix import apply_fixed_architecture as apply_fixed_architecture
    from nas_plugin.space.search_space import SearchSpace as SearchSpace
    from nas_plugin.space.spaces import spaces as spaces
    from nas_plugin.trainers import (
        ArchitectureCheckpoint as ArchitectureCheckpoint,
    )
    from nas_plugin.trainers import (
        ArchSchedule as ArchSchedule,
    )
    from nas_plugin.trainers import (
        ArchTrainer as ArchTrainer,
    )
    from nas_plugin.trainers import (
        BestEpoch as BestEpoch,
    )
    from nas_plugin.trainers import (
        BilevelTrainer as BilevelTrainer,
    )
    from nas_plugin.trainers import (
        Callback as Callback,
    )
    from nas_plugin.trainers import (
        CdartsTrainer as CdartsTrainer,
    )
    from nas_plugin.trainers import (
        DartsTrainer as DartsTrainer,
    )
    from nas_plugin.trainers import (
        EnasTrainer as EnasTrainer,
    )
    from nas_plugin.trainers import (
        LambdaDartsTrainer as LambdaDartsTrainer,
    )
    from nas_plugin.trainers import (
        LRSchedulerCallback as LRSchedulerCallback,
    )
    from nas_plugin.trainers import (
        ModelCheckpoint as ModelCheckpoint,
    )
    from nas_plugin.trainers import (
        PdartsTrainer as PdartsTrainer,
    )
    from nas_plugin.trainers import (
        Perturbation as Perturbation,
    )
    from nas_plugin.trainers import (
        ProgressCallback as ProgressCallback,
    )
    from nas_plugin.trainers import (
        ProgressiveTrainer as ProgressiveTrainer,
    )
    from nas_plugin.trainers import (
        ProxylessNasTrainer as ProxylessNasTrainer,
    )
    from nas_plugin.trainers import (
        RandomNasTrainer as RandomNasTrainer,
    )
    from nas_plugin.trainers import (
        Regularizer as Regularizer,
    )
    from nas_plugin.trainers import (
        RetrainTrainer as RetrainTrainer,
    )
    from nas_plugin.trainers import (
        SearchPart as SearchPart,
    )
    from nas_plugin.trainers import (
        SearchTrainer as SearchTrainer,
    )
    from nas_plugin.trainers import (
        SingleLevelTrainer as SingleLevelTrainer,
    )
    from nas_plugin.trainers import (
        SinglePathTrainer as SinglePathTrainer,
    )
    from nas_plugin.trainers import (
        SPOSSupernetTrainer as SPOSSupernetTrainer,
    )
    from nas_plugin.trainers import (
        StagedTrainer as StagedTrainer,
    )
    from nas_plugin.trainers import (
        Trainer as Trainer,
    )
    from nas_plugin.trainers import (
        accuracy as accuracy,
    )
    from nas_plugin.trainers import (
        reward_accuracy as reward_accuracy,
    )

__version__ = "0.1.0"

_EXPORTS = {
    "ArchSchedule": "nas_plugin.trainers",
    "ArchTrainer": "nas_plugin.trainers",
    "Architecture": "nas_plugin.space.architecture",
    "ArchitectureCheckpoint": "nas_plugin.trainers",
    "BestEpoch": "nas_plugin.trainers",
    "BilevelTrainer": "nas_plugin.trainers",
    "Binding": "nas_plugin.choice",
    "Callback": "nas_plugin.trainers",
    "CdartsTrainer": "nas_plugin.trainers",
    "Cell": "nas_plugin.choice",
    "DartsMutator": "nas_plugin.mutators",
    "DartsTrainer": "nas_plugin.trainers",
    "DataMutator": "nas_plugin.mutators",
    "Decision": "nas_plugin.choice",
    "DidartsMutator": "nas_plugin.mutators",
    "DifferentiableMutator": "nas_plugin.mutators",
    "DrnasMutator": "nas_plugin.mutators",
    "EnasMutator": "nas_plugin.mutators",
    "EnasTrainer": "nas_plugin.trainers",
    "FairDartsMutator": "nas_plugin.mutators",
    "FairNasMutator": "nas_plugin.mutators",
    "FbnetMutator": "nas_plugin.mutators",
    "GdasMutator": "nas_plugin.mutators",
    "InputChoice": "nas_plugin.choice",
    "LRSchedulerCallback": "nas_plugin.trainers",
    "LambdaDartsTrainer": "nas_plugin.trainers",
    "LayerChoice": "nas_plugin.choice",
    "ModelCheckpoint": "nas_plugin.trainers",
    "Mutable": "nas_plugin.choice",
    "MutableScope": "nas_plugin.choice",
    "Mutator": "nas_plugin.mutators",
    "NasError": "nas_plugin.errors",
    "PcDartsMutator": "nas_plugin.mutators",
    "PdartsTrainer": "nas_plugin.trainers",
    "Perturbation": "nas_plugin.trainers",
    "ProgressCallback": "nas_plugin.trainers",
    "ProgressiveTrainer": "nas_plugin.trainers",
    "ProxylessMutator": "nas_plugin.mutators",
    "ProxylessNasTrainer": "nas_plugin.trainers",
    "RandomMutator": "nas_plugin.mutators",
    "RandomNasTrainer": "nas_plugin.trainers",
    "Regularizer": "nas_plugin.trainers",
    "ReinmaxMutator": "nas_plugin.mutators",
    "Repeat": "nas_plugin.choice",
    "RetrainTrainer": "nas_plugin.trainers",
    "Rule": "nas_plugin.choice.annotate",
    "SPOSSupernetTrainer": "nas_plugin.trainers",
    "SearchPart": "nas_plugin.trainers",
    "SearchSpace": "nas_plugin.space.search_space",
    "SearchTrainer": "nas_plugin.trainers",
    "SingleLevelTrainer": "nas_plugin.trainers",
    "SinglePathTrainer": "nas_plugin.trainers",
    "SnasMutator": "nas_plugin.mutators",
    "SposMutator": "nas_plugin.mutators",
    "StagedTrainer": "nas_plugin.trainers",
    "Trainer": "nas_plugin.trainers",
    "ValueChoice": "nas_plugin.choice",
    "XnasMutator": "nas_plugin.mutators",
    "accuracy": "nas_plugin.trainers",
    "annotate": "nas_plugin.choice.annotate",
    "apply_fixed_architecture": "nas_plugin.space.fix",
    "build": "nas_plugin.space.build",
    "fan_out": "nas_plugin.choice.fan_out",
    "get_and_apply_next_architecture": "nas_plugin.experiment.apply",
    "load_data": "nas_plugin.data",
    "parameters_of": "nas_plugin.parameters",
    "reward_accuracy": "nas_plugin.trainers",
    "search_space": "nas_plugin.space.collect",
    "spaces": "nas_plugin.space.spaces",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _EXPORTS)
