"""Trainers: each a loop; they know mutators by their base class."""

from nas_plugin.trainers.bilevel import BilevelTrainer, DartsTrainer
from nas_plugin.trainers.callbacks import (
    ArchitectureCheckpoint,
    Callback,
    LRSchedulerCallback,
    ModelCheckpoint,
)
from nas_plugin.trainers.metrics import accuracy
from nas_plugin.trainers.retrain import RetrainTrainer
from nas_plugin.trainers.search_trainer import SearchTrainer
from nas_plugin.trainers.trainer import Trainer

__all__ = [
    "ArchitectureCheckpoint",
    "BilevelTrainer",
    "Callback",
    "DartsTrainer",
    "LRSchedulerCallback",
    "ModelCheckpoint",
    "RetrainTrainer",
    "SearchTrainer",
    "Trainer",
    "accuracy",
]
