"""The plain collection of NAS-Bench-201 numbers, ``nasbench201.npz`` and ``latency_ms.npz``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nas_plugin.benchmarks.importers._target import choose_release, target_path
from nas_plugin.benchmarks.table import Array, Column, sha256_of, write_table
from nas_plugin.errors import FileError
from nas_plugin.files import read_npz
from nas_plugin.space.encodings.nasbench201 import KEYS, OPS

RELEASES = {
    "nasbench201-nats1.0": "NATS-Bench topology v1.0 (D-X-Y, 2020-08-31), means over 2 or 3 seeds",
    "nasbench201-v1.1": "NAS-Bench-201 v1.1 (D-X-Y, 2020-03-16), means over 1 to 3 seeds",
}
DATASETS = ("cifar10", "cifar100", "imagenet16_120")
NOTES = (
    "cifar10: 'valid' is after training on half of the training images, 'test' after all.",
    "The schedules of 12 and 200 epochs are separate trainings; both releases share that of 12.",
    "'valtest' of cifar100 and imagenet16_120 is validation and test images together.",
    "trainval_seconds: training and a validation after every epoch; trainval_once_seconds: "
    "training and a single validation, which is what the official simulate_train_eval charges. "
    "Times are those of NATS-Bench v1.0.",
    "zc_synflow is the natural logarithm of the score, zc_naswot the log-determinant.",
    "flops are millions of multiply-adds.",
)
_ZERO_COST = {"log_synflow": "zc_synflow", "snip": "zc_snip", "naswot_logdet": "zc_naswot"}
_ROWS = len(OPS) ** len(KEYS)


def import_nasbench201_npz(path: Path, out: Path | None, release: str | None) -> Path:
    """Imports one of the two releases that the file holds.

    Raises:
        FileError: If the file is damaged or lacks an array.
        OptionError: If the release is another.
    """
    name = choose_release(path, release, tuple(RELEASES))
    arrays = read_npz(path)
    try:
        if tuple(arrays["op_names"].tolist()) != OPS:
            raise FileError(f"{path}: 'op_names' is {arrays['op_names'].tolist()}, not {OPS}.")
        columns = _accuracies(arrays, old=name.endswith("v1.1"))
        for dataset in DATASETS:
            columns.update(_costs(arrays, dataset))
        ops = arrays["ops"]
    except KeyError as error:
        raise FileError(f"{path}: {error.args[0]}") from error
    source = {path.name: sha256_of(path)}
    latency = path.with_name("latency_ms.npz")
    if latency.is_file():
        source[latency.name] = sha256_of(latency)
        for device, values in read_npz(latency).items():
            columns[Column(f"latency_ms_{device}", goal="min")] = values
    for column, values in columns.items():
        if values.shape != (_ROWS,):
            raise FileError(f"{path}: {column} has shape {values.shape}, not ({_ROWS},).")
    return write_table(
        target_path(out, name),
        kind="nasbench201",
        name=name,
        release=RELEASES[name],
        datasets=DATASETS,
        columns=columns,
        arrays={"ops": ops},
        source=source,
        notes=NOTES,
    )


def _accuracies(arrays: dict[str, Array], *, old: bool) -> dict[Column, Array]:
    columns: dict[Column, Array] = {}
    for dataset in DATASETS:
        for split, key in (("valid", "val"), ("test", "test")):
            suffix = "" if not old else "_nb201v11" if key == "val" else "_nb201"
            columns[Column("accuracy", dataset, 200, split)] = arrays[f"{dataset}_{key}200{suffix}"]
            columns[Column("accuracy", dataset, 12, split)] = arrays[f"{dataset}_{key}12"]
    if old:
        runs = arrays["cifar10_test200_seeds_nb201"]
        for run in range(runs.shape[1]):
            columns[Column("accuracy", "cifar10", 200, "test", run)] = runs[:, run]
        return columns
    for dataset in DATASETS:
        split, key = ("valid", "val") if dataset == "cifar10" else ("valtest", "valtest")
        runs = arrays[f"{dataset}_{key}200_seeds"]
        for i, seed in enumerate((777, 888, 999)):
            columns[Column("accuracy", dataset, 200, split, seed)] = runs[:, i]
        if dataset != "cifar10":
            mean = np.asarray(np.nanmean(runs, axis=1, dtype=np.float64), np.float32)
            columns[Column("accuracy", dataset, 200, split)] = mean
    return columns


def _costs(arrays: dict[str, Array], dataset: str) -> dict[Column, Array]:
    """Splits the given seconds into training, which is per epoch the same, and validation."""
    trained = "cifar10_valid" if dataset == "cifar10" else dataset
    train200 = arrays[f"train_seconds200_{trained}"].astype(np.float64)
    trainval12 = arrays[f"trainval_seconds12_{dataset}"].astype(np.float64)
    once = (trainval12 - train200 * (12 / 200)) / 12
    columns: dict[Column, Array] = {}
    for epochs in (12, 200):
        train = train200 * (epochs / 200)
        seconds = {
            "trainval_seconds": train + epochs * once,
            "trainval_once_seconds": train + once,
            "train_seconds": train,
        }
        for metric, values in seconds.items():
            column = Column(metric, dataset, epochs, goal="min")
            columns[column] = values.astype(np.float32)
    columns[Column("params", dataset, goal="min")] = arrays[f"params_{dataset}"]
    columns[Column("flops", dataset, goal="min")] = arrays[f"flops_{dataset}"]
    for key, metric in _ZERO_COST.items():
        columns[Column(metric, dataset)] = arrays[f"zc_{key}_{dataset}"]
    return columns
