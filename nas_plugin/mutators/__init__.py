"""One-shot mutators: one file per way of deciding."""

from nas_plugin.mutators._differentiable import (
    DifferentiableMutator,
    gumbel_noise,
    straight_through,
)
from nas_plugin.mutators.darts import DartsMutator
from nas_plugin.mutators.data import DataMutator
from nas_plugin.mutators.didarts import DidartsMutator
from nas_plugin.mutators.drnas import DrnasMutator
from nas_plugin.mutators.enas import EnasMutator
from nas_plugin.mutators.fair_darts import FairDartsMutator
from nas_plugin.mutators.fairnas import FairNasMutator
from nas_plugin.mutators.fbnet import FbnetMutator
from nas_plugin.mutators.gdas import GdasMutator
from nas_plugin.mutators.mutator import Mutator, mutators
from nas_plugin.mutators.pc_darts import PcDartsMutator
from nas_plugin.mutators.proxyless import ProxylessMutator
from nas_plugin.mutators.random import RandomMutator
from nas_plugin.mutators.reinmax import ReinmaxMutator
from nas_plugin.mutators.snas import SnasMutator
from nas_plugin.mutators.spos import SposMutator
from nas_plugin.mutators.xnas import XnasMutator

__all__ = [
    "DartsMutator",
    "DataMutator",
    "DidartsMutator",
    "DifferentiableMutator",
    "DrnasMutator",
    "EnasMutator",
    "FairDartsMutator",
    "FairNasMutator",
    "FbnetMutator",
    "GdasMutator",
    "Mutator",
    "PcDartsMutator",
    "ProxylessMutator",
    "RandomMutator",
    "ReinmaxMutator",
    "SnasMutator",
    "SposMutator",
    "XnasMutator",
    "gumbel_noise",
    "mutators",
    "straight_through",
]
