"""Trainers: each a loop; they know mutators by their base class."""

from nas_plugin.trainers.arch_trainer import ArchTrainer
from nas_plugin.trainers.best_epoch import BestEpoch
from nas_plugin.trainers.bilevel import BilevelTrainer, DartsTrainer
from nas_plugin.trainers.callbacks import (
    ArchitectureCheckpoint,
    Callback,
    LRSchedulerCallback,
    ModelCheckpoint,
)
from nas_plugin.trainers.cdarts import CdartsTrainer
from nas_plugin.trainers.decay import decay_groups
from nas_plugin.trainers.enas import EnasTrainer, reward_accuracy
from nas_plugin.trainers.fit import fitting
from nas_plugin.trainers.gradients import Gradients
from nas_plugin.trainers.lambda_darts import LambdaDartsTrainer
from nas_plugin.trainers.metrics import accuracy
from nas_plugin.trainers.objective import Objective
from nas_plugin.trainers.parts import ArchSchedule, Perturbation, Regularizer, SearchPart
from nas_plugin.trainers.pdarts import PdartsTrainer
from nas_plugin.trainers.perturbations import (
    AdversarialPerturbation,
    DropoutPerturbation,
    RandomPerturbation,
    perturbations,
)
from nas_plugin.trainers.progress import ProgressCallback
from nas_plugin.trainers.progressive import ProgressiveTrainer
from nas_plugin.trainers.proxyless import ProxylessNasTrainer
from nas_plugin.trainers.regularizers import (
    AuxiliarySkip,
    CostFactor,
    ExpectedCost,
    named_regularizer,
    regularizers,
)
from nas_plugin.trainers.retrain import RetrainTrainer
from nas_plugin.trainers.search_trainer import SearchTrainer
from nas_plugin.trainers.selections import (
    PerturbationSelection,
    SampledSelection,
    Selection,
    finalize,
    selections,
)
from nas_plugin.trainers.single_level import SingleLevelTrainer
from nas_plugin.trainers.single_path import RandomNasTrainer, SinglePathTrainer, SPOSSupernetTrainer
from nas_plugin.trainers.staged import StagedTrainer
from nas_plugin.trainers.stops import EigenvalueStop, OperationStop, RankingStop, SkipStop, stops
from nas_plugin.trainers.trainer import Trainer

__all__ = [
    "AdversarialPerturbation",
    "ArchTrainer",
    "AuxiliarySkip",
    "DropoutPerturbation",
    "EigenvalueStop",
    "OperationStop",
    "RankingStop",
    "SkipStop",
    "stops",
    "PerturbationSelection",
    "SampledSelection",
    "Selection",
    "finalize",
    "selections",
    "ExpectedCost",
    "RandomPerturbation",
    "SingleLevelTrainer",
    "perturbations",
    "ArchSchedule",
    "ArchitectureCheckpoint",
    "BestEpoch",
    "BilevelTrainer",
    "Callback",
    "CostFactor",
    "DartsTrainer",
    "EnasTrainer",
    "Gradients",
    "LRSchedulerCallback",
    "ModelCheckpoint",
    "Objective",
    "CdartsTrainer",
    "LambdaDartsTrainer",
    "PdartsTrainer",
    "ProgressiveTrainer",
    "StagedTrainer",
    "Perturbation",
    "ProgressCallback",
    "ProxylessNasTrainer",
    "RandomNasTrainer",
    "Regularizer",
    "RetrainTrainer",
    "SPOSSupernetTrainer",
    "SearchPart",
    "SearchTrainer",
    "SinglePathTrainer",
    "Trainer",
    "accuracy",
    "decay_groups",
    "fitting",
    "named_regularizer",
    "regularizers",
    "reward_accuracy",
]
