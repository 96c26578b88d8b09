"""One-shot mutators: one file per way of deciding."""

from nas_plugin.mutators.darts import DartsMutator
from nas_plugin.mutators.enas import EnasMutator
from nas_plugin.mutators.fairnas import FairNasMutator
from nas_plugin.mutators.mutator import Mutator, mutators
from nas_plugin.mutators.proxyless import ProxylessMutator
from nas_plugin.mutators.random import RandomMutator
from nas_plugin.mutators.spos import SposMutator

__all__ = [
    "DartsMutator",
    "EnasMutator",
    "FairNasMutator",
    "Mutator",
    "ProxylessMutator",
    "RandomMutator",
    "SposMutator",
    "mutators",
]
