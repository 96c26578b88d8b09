"""Candidate operations."""

from collections.abc import Callable

from torch import nn

from nas_plugin.operations import basic
from nas_plugin.operations.alternatives import conv_alternatives
from nas_plugin.operations.auxiliary_skip import add_auxiliary_skips
from nas_plugin.operations.conv import DilConv, FactorizedReduce, ReLUConvBN, SepConv
from nas_plugin.operations.drop_path import DropPath, set_drop_path
from nas_plugin.operations.mbconv import MBConv
from nas_plugin.operations.noise import Noise
from nas_plugin.operations.pool import avg_pool, max_pool
from nas_plugin.operations.registry import operations, register
from nas_plugin.operations.skip import Zero, skip_connect

__all__ = [
    "DilConv",
    "DropPath",
    "FactorizedReduce",
    "MBConv",
    "Noise",
    "ReLUConvBN",
    "SepConv",
    "Zero",
    "add_auxiliary_skips",
    "avg_pool",
    "conv_alternatives",
    "max_pool",
    "operations",
    "register",
    "set_drop_path",
    "skip_connect",
]

_built_in: dict[str, Callable[..., nn.Module]] = {
    "average_halves": basic.average_halves,
    "avg_pool": avg_pool,
    "batch_norm": basic.batch_norm,
    "conv": basic.conv,
    "conv_bn": basic.conv_bn,
    "conv_bn_relu": basic.conv_bn_relu,
    "dil_conv": DilConv,
    "drop_path": DropPath,
    "dropout": basic.dropout,
    "factorized_reduce": FactorizedReduce,
    "flatten": basic.flatten,
    "global_avg_pool": basic.global_avg_pool,
    "identity": basic.identity,
    "linear": basic.linear,
    "max_halves": basic.max_halves,
    "max_pool": max_pool,
    "mbconv": MBConv,
    "noise": Noise,
    "relu": basic.relu,
    "relu_conv_bn": ReLUConvBN,
    "sep_conv": SepConv,
    "skip_connect": skip_connect,
    "spatial_mean": basic.SpatialMean,
    "zero": Zero,
}
for _name, _factory in _built_in.items():
    register(_name)(_factory)
