"""A trained supernet as one file, and the second stage's evaluator that is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Subset

from nas_plugin.data import load_data, restate, split_indices, standard_augment
from nas_plugin.errors import CheckpointError
from nas_plugin.evaluation import SupernetEvaluator
from nas_plugin.files import load_checkpoint, save_checkpoint
from nas_plugin.scripts.images import Images
from nas_plugin.space.spaces import spaces

_FORMAT = "nas_plugin.supernet/1"


def save_supernet(
    path: Path, model: nn.Module, *, space: str, sizes: Mapping[str, Any], data: Mapping[str, Any]
) -> None:
    """Writes weights beside what they were made of.

    Args:
        path: The file.
        model: The trained supernet.
        space: Its name in the registry.
        sizes: What its builder was given.
        data: ``name``, ``limit``, ``seed`` and ``valid_fraction``, which say what samples it has
            seen, ``image``, the shape of one, and ``images``, what `image_settings` returned.
    """
    state = {"format": _FORMAT, "space": space, "sizes": dict(sizes), "data": dict(data)}
    save_checkpoint(path, {**state, "model": dict(model.state_dict())})


def read_supernet(path: str | Path) -> dict[str, Any]:
    """Returns what `save_supernet` wrote.

    Raises:
        CheckpointError: If the file is something else.
    """
    state = load_checkpoint(path)
    if state.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} is a checkpoint, but not of a supernet. Give the supernet.pt that a "
            "supernet's training script wrote at its end."
        )
    return state


def held_out(data: Images, fraction: float, seed: int) -> Images:
    """Returns the training part in two: what trains the supernet, and what ranks its paths."""
    targets = getattr(data.train, "targets", None)
    targets = targets if isinstance(targets, Tensor) else None
    parts = split_indices(len(data.train), (1 - fraction, fraction), seed=seed, targets=targets)
    kept, ranking = (_subset(data.train, part) for part in parts)
    return Images(kept, ranking)


def supernet_evaluator(
    state: Mapping[str, Any],
    *,
    data_dir: str | None = None,
    calibration_batches: int = 200,
    batch_size: int = 64,
    device: str = "auto",
) -> SupernetEvaluator:
    """Returns what validates the paths of a supernet, on what its training has not seen.

    It follows from the file alone, so every process that reads it finds the same.

    Args:
        state: What `read_supernet` returned.
        data_dir: Folder of the data set's files.
        calibration_batches: Batches that the statistics are recalibrated on.
        batch_size: Samples per calibration and validation batch.
        device: Where to evaluate.
    """
    about = state["data"]
    train = load_data(about["name"], root=data_dir, limit=about["limit"], seed=about["seed"])
    restate(train, **about.get("images", {}))
    parts = held_out(Images(train, None), about["valid_fraction"], about["seed"])
    model = spaces.get(state["space"])(**state["sizes"])
    model.load_state_dict(state["model"])
    return SupernetEvaluator(
        model,
        parts.train,
        parts.test,
        calibration_batches=calibration_batches,
        batch_size=batch_size,
        augment=standard_augment(train, train=True, seed=about["seed"]),
        eval_augment=standard_augment(train, train=False),
        seed=about["seed"],
        device=device,
    )


def _subset(dataset: Any, indices: Tensor) -> Any:
    if hasattr(dataset, "subset"):
        return dataset.subset(indices)
    part: Any = Subset(dataset, indices.tolist())
    part.num_classes = dataset.num_classes
    return part
