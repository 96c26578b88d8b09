"""Random images, for measurements and tests of plumbing."""

from __future__ import annotations

from pathlib import Path

import torch

from nas_plugin.data.dataset import ArrayDataset, data_sets


@data_sets.register("fake")
def fake(
    *,
    root: Path | None,
    split: str,
    samples: int = 512,
    shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    seed: int = 0,
) -> ArrayDataset:
    """Makes images of noise; there is nothing to learn. `root` is not needed."""
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    images = torch.randint(0, 256, (samples, *shape), generator=generator, dtype=torch.uint8)
    targets = torch.arange(samples) % classes
    return ArrayDataset(images, targets, name="fake")
