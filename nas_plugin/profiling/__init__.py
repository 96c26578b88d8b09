"""What a network costs."""

from nas_plugin.profiling.candidates import flops_table, latency_table, params_table
from nas_plugin.profiling.cost import Profile, profile
from nas_plugin.profiling.flops import count_flops
from nas_plugin.profiling.params import count_params
from nas_plugin.space.cost_table import CostTable

__all__ = [
    "CostTable",
    "Profile",
    "count_flops",
    "count_params",
    "flops_table",
    "latency_table",
    "params_table",
    "profile",
]
