"""One-shot mutators: one file per way of deciding."""

from nas_plugin.mutators.darts import DartsMutator
from nas_plugin.mutators.mutator import Mutator, mutators
from nas_plugin.mutators.random import RandomMutator

__all__ = ["DartsMutator", "Mutator", "RandomMutator", "mutators"]
