"""Candidate operations."""

from nas_plugin.operations.alternatives import conv_alternatives
from nas_plugin.operations.auxiliary_skip import add_auxiliary_skips
from nas_plugin.operations.conv import DilConv, FactorizedReduce, ReLUConvBN, SepConv
from nas_plugin.operations.drop_path import DropPath, set_drop_path
from nas_plugin.operations.noise import Noise
from nas_plugin.operations.pool import avg_pool, max_pool
from nas_plugin.operations.skip import Zero, skip_connect

__all__ = [
    "DilConv",
    "DropPath",
    "FactorizedReduce",
    "Noise",
    "ReLUConvBN",
    "SepConv",
    "Zero",
    "add_auxiliary_skips",
    "avg_pool",
    "conv_alternatives",
    "max_pool",
    "set_drop_path",
    "skip_connect",
]
