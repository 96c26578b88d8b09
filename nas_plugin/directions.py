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
#: Words that turn the meaning of those beside them, as in ``neg_mean_squared_error``.
TURNS = frozenset(("neg", "negative", "negated", "minus", "inverse", "inv"))


def direction(name: str) -> Mode | None:
    """Returns ``max`` or ``min`` for a metric whose name holds a known word, such as ``valid_mae``.

    None if no word of it is known, or one turns the others (``neg_mae``). A word for what is bad
    counts first, so ``accuracy_loss`` is ``min``.
    """
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    if words & TURNS:
        return None
    if words & SMALLER:
        return "min"
    return "max" if words & LARGER else None
