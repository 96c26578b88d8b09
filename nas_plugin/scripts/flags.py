"""Flags of a script: of the run, and of the sizes of a space, which its builder says."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.execution import executions
from nas_plugin.files import check_folder

#: What the data says, or the method; never a flag of the size.
NOT_SIZES = (
    "classes", "in_channels", "small_images", "auxiliary", "retrain", "partial", "shared",
)  # fmt: skip


def add_run_flags(
    parser: argparse.ArgumentParser,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    label_smoothing: float = 0.0,
    data: str = "cifar10",
) -> None:
    """Adds the flags of data, optimizer, device, log and checkpoints, with these defaults."""
    add = parser.add_argument
    add("--data", default=data, help="name of a data set, or its file or folder")
    add("--data-dir", help="folder that holds the data set's files")
    add("--limit", type=int, help="use only this many samples of each part")
    add("--epochs", type=int, default=epochs)
    add("--batch-size", type=int, default=batch_size)
    add("--accumulate", type=int, default=1, help="micro-batches per batch (gradient accumulation)")
    add("--learning-rate", type=float, default=learning_rate)
    add("--weight-decay", type=float, default=weight_decay)
    add("--label-smoothing", type=float, default=label_smoothing)
    add("--grad-clip", type=float, default=5.0)
    add("--device", default="auto")
    add("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    add("--channels-last", action=argparse.BooleanOptionalAction, default=None,
        help="use the channels-last memory layout (default: if it is faster)")  # fmt: skip
    add("--workers", type=int, default=0, help="processes that load data from disk")
    add("--seed", type=int, default=0)
    add("--log-frequency", type=int, default=10, help="steps between two records of the log")
    add("--checkpoint-every", type=int, default=100, help="steps between two checkpoints")
    add("--limit-batches", type=int, help="at most this many steps per epoch, for a quick look")
    add("--resume", action="store_true", help="continue from the newest checkpoint under --out")
    add("--rank-timeout", type=float, metavar="SECONDS",
        help="under torchrun: end when a rank is silent for so long (default: 10 times the "
        "slowest step, at least 60)")  # fmt: skip
    add("--out", type=writable_folder, default=Path("."), help="folder that results are written to")


def writable_folder(text: str) -> Path:
    """Returns the folder that a flag names.

    Raises:
        ArgumentTypeError: If nothing can be written into it.
    """
    try:
        check_folder(text)
    except OptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return Path(text)


def add_execution_flag(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of a search that says how its choice blocks run."""
    parser.add_argument(
        "--execution", choices=executions(), default="auto",
        help="how choice blocks run: the fastest available executor, or the named one; "
        "results are equal",
    )  # fmt: skip


def add_size_flags(
    parser: argparse.ArgumentParser, builder: Callable[..., Any], **defaults: Any
) -> None:
    """Adds a flag for every size of a space: the builder's keyword arguments, with its defaults.

    Args:
        parser: Gets ``--channels``, ``--layers``, whatever there is; sequences take several words.
        builder: As a search space has one.
        **defaults: Other defaults than the builder's.
    """
    image = parser.add_argument_group("images", "by default, as the data set specifies")
    image.add_argument("--image-size", type=int, metavar="PIXELS",
                       help="side of the images of a folder (default 224)")  # fmt: skip
    image.add_argument("--mean", type=float, nargs="+", help="mean of each channel, in [0, 1]")
    image.add_argument("--std", type=float, nargs="+", help="standard deviation of each channel")
    image.add_argument("--crop", type=int, metavar="PIXELS",
                       help="pixels by which training images may be shifted")  # fmt: skip
    image.add_argument("--flip", action=argparse.BooleanOptionalAction, default=None,
                       help="mirror half of the training images")  # fmt: skip
    sizes = parser.add_argument_group("sizes")
    for name, default in _sizes(builder).items():
        default = defaults.get(name, default)
        flag = f"--{name.replace('_', '-')}"
        if isinstance(default, bool):
            sizes.add_argument(flag, action=argparse.BooleanOptionalAction, default=default)
        elif isinstance(default, (tuple, list)):
            sizes.add_argument(flag, type=type(default[0]), nargs="+", default=list(default))
        else:
            sizes.add_argument(flag, type=type(default), default=default)


def sizes_of(
    builder: Callable[..., Any], args: argparse.Namespace, image: Any, classes: int
) -> dict[str, Any]:
    """Returns the builder's keyword arguments: those of the flags, and what the data says.

    Args:
        builder: As in `add_size_flags`.
        args: The flags.
        image: A sample, ``(C, H, W)``; below 64 pixels a stem has no stride.
        classes: Outputs.
    """
    data = {
        "classes": classes,
        "in_channels": int(image.shape[0]),
        "small_images": int(image.shape[-1]) < 64,
    }
    known = inspect.signature(builder).parameters
    given = {name: getattr(args, name) for name in _sizes(builder)}
    return {**given, **{name: value for name, value in data.items() if name in known}}


def _sizes(builder: Callable[..., Any]) -> Mapping[str, Any]:
    parameters = inspect.signature(builder).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in NOT_SIZES}
