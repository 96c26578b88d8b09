"""What a network costs."""

from nas_plugin.profiling.cost import Profile, profile
from nas_plugin.profiling.flops import count_flops
from nas_plugin.profiling.params import count_params

__all__ = ["Profile", "count_flops", "count_params", "profile"]
