"""Selections: which architecture a finished search stands for."""

from nas_plugin.trainers.selections.perturbation import PerturbationSelection
from nas_plugin.trainers.selections.sampled import SampledSelection
from nas_plugin.trainers.selections.selection import (
    Selection,
    StrengthSelection,
    finalize,
    selections,
)

__all__ = [
    "PerturbationSelection",
    "SampledSelection",
    "Selection",
    "StrengthSelection",
    "finalize",
    "selections",
]
