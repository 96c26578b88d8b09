"""Data sets by name, splits, augmentation and loaders, all functions of a seed."""

from nas_plugin.data import arrays, cifar, digits, fake, idx, image_folder, text  # noqa: F401
from nas_plugin.data.augment import (
    Augment,
    Cutout,
    Normalize,
    RandomCrop,
    RandomFlip,
    described,
    standard_augment,
)
from nas_plugin.data.dataset import ArrayDataset, data_sets, load_data
from nas_plugin.data.glove import load_glove
from nas_plugin.data.image_folder import ImageFolder
from nas_plugin.data.loader import Loader, make_loader
from nas_plugin.data.split import split_indices
from nas_plugin.data.statistics import channel_statistics, check_alike, restate
from nas_plugin.data.text import TextDataset
from nas_plugin.data.vocabulary import Vocabulary

__all__ = [
    "ArrayDataset",
    "Augment",
    "Cutout",
    "ImageFolder",
    "Loader",
    "Normalize",
    "RandomCrop",
    "RandomFlip",
    "TextDataset",
    "Vocabulary",
    "channel_statistics",
    "check_alike",
    "data_sets",
    "described",
    "load_data",
    "load_glove",
    "make_loader",
    "restate",
    "split_indices",
    "standard_augment",
]
