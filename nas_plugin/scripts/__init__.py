"""What scripts of image spaces share, so that each of them holds only what is its method's own."""

from nas_plugin.scripts.flags import add_run_flags, add_size_flags, sizes_of
from nas_plugin.scripts.images import Images, load_images, run_search, trainer_options
from nas_plugin.scripts.retraining import add_retrain_flags, retrain
from nas_plugin.scripts.supernet import held_out, read_supernet, save_supernet, supernet_evaluator

__all__ = [
    "Images",
    "add_retrain_flags",
    "add_run_flags",
    "add_size_flags",
    "held_out",
    "load_images",
    "read_supernet",
    "retrain",
    "run_search",
    "save_supernet",
    "sizes_of",
    "supernet_evaluator",
    "trainer_options",
]
