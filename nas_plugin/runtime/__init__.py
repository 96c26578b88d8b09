"""Device, precision, processes, random state and signals of a run."""

from nas_plugin.runtime.device import pick_device
from nas_plugin.runtime.fused import fuse, is_fused, same_layouts
from nas_plugin.runtime.garbage import frozen_garbage
from nas_plugin.runtime.interrupt import Interrupted, InterruptGuard
from nas_plugin.runtime.layout import Layout
from nas_plugin.runtime.precision import Precision
from nas_plugin.runtime.ranks import Ranks
from nas_plugin.runtime.seeds import fingerprint, random_state, seed_everything, set_random_state

__all__ = [
    "InterruptGuard",
    "Interrupted",
    "Layout",
    "Precision",
    "Ranks",
    "fingerprint",
    "frozen_garbage",
    "fuse",
    "is_fused",
    "pick_device",
    "random_state",
    "same_layouts",
    "seed_everything",
    "set_random_state",
]
