"""Which metrics are better when they are larger, and which when they are smaller."""

from __future__ import annotations

import re
from typing import Literal

Mode = Literal["max", "min"]

LARGER = frozenset(
    (
        "accuracy", "acc", "top1", "top5", "precision", "recall", "sensitivity", "specificity",
        "f1", "r2", "auc", "auroc", "ap", "map", "dice", "iou", "jaccard", "kappa", "mcc",
        "bleu", "rouge", "psnr", "ssim", "pearson", "spearman", "kendall", "likelihood",
        "reward",
    )
)  # fmt: skip
SMALLER = frozenset(
    (
        "loss", "error", "err", "mae", "mse", "rmse", "mape", "perplexity", "ppl", "nll",
        "brier", "wer", "cer", "fid", "hinge", "distance", "divergence", "regret", "penalty",
        "latency", "flops", "macs", "params", "parameters", "seconds", "time", "memory",
    )
)  # fmt: skip


def direction(name: str) -> Mode | None:
    """Returns ``max`` or ``min`` for a metric whose name holds a known word, such as ``valid_mae``.

    None if no word of it is known. A word for what is bad counts first, so ``accuracy_loss`` is
    ``min``.
    """
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    if words & SMALLER:
        return "min"
    return "max" if words & LARGER else None
