"""What scripts share, so that each of them holds only what is its method's own."""

from nas_plugin.scripts.composition import (
    add_composition_flags,
    add_order_flag,
    composed_options,
    composed_stops,
    composed_supernet,
    costs_of,
    refuse_parts,
    staged_options,
)
from nas_plugin.scripts.flags import (
    add_execution_flag,
    add_run_flags,
    add_size_flags,
    sizes_of,
    writable_folder,
)
from nas_plugin.scripts.images import Images, image_settings, load_images, trainer_options
from nas_plugin.scripts.retraining import add_retrain_flags, chosen, retrain
from nas_plugin.scripts.run import MakeSchedule, run_options, run_search
from nas_plugin.scripts.supernet import held_out, read_supernet, save_supernet, supernet_evaluator
from nas_plugin.scripts.text import add_text_flags, load_sentences, text_network

__all__ = [
    "Images",
    "MakeSchedule",
    "add_composition_flags",
    "add_order_flag",
    "add_retrain_flags",
    "add_execution_flag",
    "chosen",
    "add_run_flags",
    "add_size_flags",
    "add_text_flags",
    "composed_options",
    "composed_stops",
    "composed_supernet",
    "costs_of",
    "held_out",
    "image_settings",
    "load_images",
    "load_sentences",
    "read_supernet",
    "refuse_parts",
    "retrain",
    "run_options",
    "run_search",
    "save_supernet",
    "sizes_of",
    "staged_options",
    "supernet_evaluator",
    "text_network",
    "trainer_options",
    "writable_folder",
]
