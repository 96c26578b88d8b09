"""scikit-learn's handwritten digits: real images that come with the installation."""

from __future__ import annotations

from pathlib import Path

import torch

from nas_plugin.data.dataset import ArrayDataset, data_sets
from nas_plugin.data.split import split_indices

TEST_FRACTION = 0.2


@data_sets.register("digits")
def digits(*, root: Path | None, split: str) -> ArrayDataset:
    """Reads 1,438 training and 359 test images of 8x8 pixels, one channel, ten classes.

    The split is stratified and always the same. `root` is not needed: the images lie in
    scikit-learn (test set of the UCI *Optical Recognition of Handwritten Digits*, Alpaydin &
    Kaynak 1998).
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    targets = torch.from_numpy(found.target).long()
    # 17 grey levels, 0 … 16, become 0 … 255.
    grey = (torch.from_numpy(found.images) * (255 / 16)).round().to(torch.uint8)[:, None]
    train, test = split_indices(
        len(targets), (1 - TEST_FRACTION, TEST_FRACTION), seed=0, targets=targets
    )
    whole = ArrayDataset(grey, targets, mean=(0.3053,), std=(0.3760,), crop=1, name="digits")
    return whole.subset(train if split == "train" else test)
