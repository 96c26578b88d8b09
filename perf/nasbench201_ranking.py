"""How well a supernet of sampled paths ranks the cells of NAS-Bench-201.

    python perf/nasbench201_ranking.py --table nasbench201.npz --epochs 40

Trains the supernet of the space with uniform paths on CIFAR-10 and validates 100 cells, drawn from
the connected ones with a fixed seed and none left out, with its weights: with the statistics of
the supernet, and with recalibrated ones. Prints Kendall's tau to the test accuracy after 200
epochs, with an interval by bootstrap over the cells, for all and for the truly better half, beside
the tau of the number of parameters.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from random import Random

import torch
from scipy.stats import kendalltau
from torch import nn

from nas_plugin.data import ArrayDataset, load_data, standard_augment
from nas_plugin.evaluation import SupernetEvaluator
from nas_plugin.files import read_npz
from nas_plugin.mutators import SposMutator
from nas_plugin.runtime import seed_everything
from nas_plugin.space.encodings import nasbench201 as encoding
from nas_plugin.strategies import Proposal
from nas_plugin.trainers import Callback, LRSchedulerCallback, SPOSSupernetTrainer, accuracy
from search_spaces.nasbench201 import nasbench201


class Shown(Callback):
    """Prints an epoch's figures."""

    def on_record(self, record: object) -> None:
        if isinstance(record, dict) and record["phase"] == "epoch":
            print(
                f"epoch {record['epoch'] + 1}: accuracy of random paths "
                f"{record['valid_accuracy']:.3f}, {record['time']:.0f} s",
                flush=True,
            )


def smaller(data: ArrayDataset, side: int) -> ArrayDataset:
    """Returns the images averaged down to `side` pixels."""
    if side == data.inputs.shape[-1]:
        return data
    images = nn.functional.adaptive_avg_pool2d(data.inputs.float(), side).round().to(torch.uint8)
    return ArrayDataset(
        images, data.targets, mean=data.mean, std=data.std, crop=max(1, data.crop * side // 32),
        flip=data.flip, name=data.name,
    )  # fmt: skip


def interval(x: Sequence[float], y: Sequence[float], seed: int = 0) -> list[float]:
    """Returns Kendall's tau-b and its 95 % interval by 2,000 resamples of the cells."""
    rng, n = Random(seed), len(x)
    drawn = []
    for _ in range(2000):
        picked = [rng.randrange(n) for _ in range(n)]
        drawn.append(kendalltau([x[i] for i in picked], [y[i] for i in picked]).statistic)
    # A resample of equal values has no tau.
    drawn = sorted(t for t in drawn if not isnan(t))
    low, high = (drawn[int(share * (len(drawn) - 1))] for share in (0.025, 0.975))
    return [float(kendalltau(x, y).statistic), float(low), float(high)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--table", default="../shared/data/nasbench201/nasbench201.npz")
    add("--channels", type=int, default=16)
    add("--cells", type=int, default=1, help="cells a stage; the benchmark has 5")
    add("--side", type=int, default=16, help="pixels of an image")
    add("--train", type=int, default=20000, help="training images")
    add("--valid", type=int, default=2500, help="held-out training images that rank")
    add("--epochs", type=int, default=20)
    add("--batch-size", type=int, default=128)
    add("--learning-rate", type=float, default=0.1)
    add("--calibration-batches", type=int, default=20)
    add("--architectures", type=int, default=100)
    add("--seed", type=int, default=0)
    add("--device", default="auto")
    add("--out", type=Path, help="file of the results, JSON")
    args = parser.parse_args()
    seed_everything(args.seed)
    whole = smaller(load_data("cifar10", limit=args.train + args.valid, seed=args.seed), args.side)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(args.seed))
    train, valid = whole.subset(order[: args.train]), whole.subset(order[args.train :])
    model = nasbench201(channels=args.channels, cells=args.cells, classes=10)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=args.learning_rate, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    augment = standard_augment(train, train=True, seed=args.seed)
    eval_augment = standard_augment(valid, train=False)
    # A cell that is not connected teaches nothing and ends in a loss without gradient.
    mutator = SposMutator(model, seed=args.seed, cost=encoding.is_connected, window=(1, 1))
    trainer = SPOSSupernetTrainer(
        model, nn.functional.cross_entropy, accuracy, optimizer, args.epochs, train, valid,
        mutator=mutator, batch_size=args.batch_size, grad_clip=5.0, augment=augment,
        eval_augment=eval_augment, seed=args.seed, device=args.device,
        callbacks=[LRSchedulerCallback(schedule), Shown()],
    )  # fmt: skip
    trainer.train()
    mutator.unbind(model)

    table = read_npz(args.table)
    rng = Random(0)
    cells = [encoding.from_ops([encoding.OPS[i] for i in ops]) for ops in table["ops"].tolist()]
    connected = [row for row, cell in enumerate(cells) if encoding.is_connected(cell)]
    rows = sorted(rng.sample(connected, args.architectures))
    truth = [float(table["cifar10_test200"][row]) for row in rows]
    scores = {"parameters": [float(table["params_cifar10"][row]) for row in rows]}
    for name, batches in (("inherited", 0), ("recalibrated", args.calibration_batches)):
        evaluator = SupernetEvaluator(
            model, train, valid, calibration_batches=batches, batch_size=250, augment=augment,
            eval_augment=eval_augment, seed=args.seed, device=args.device,
        )  # fmt: skip
        outcomes = [evaluator.evaluate(Proposal(i, cells[row])) for i, row in enumerate(rows)]
        scores[name] = [outcome.metrics["accuracy"] for outcome in outcomes]
        evaluator.close()
    median = sorted(truth)[len(truth) // 2]
    top = [i for i, value in enumerate(truth) if value >= median]
    result = {
        "seconds": round(trainer.elapsed, 1),
        "settings": {k: str(v) for k, v in vars(args).items()},
        "tau": {
            name: {
                "all": interval(values, truth),
                "top half": interval([values[i] for i in top], [truth[i] for i in top]),
            }
            for name, values in scores.items()
        },
        "rows": rows,
        "truth": truth,
        "scores": scores,
    }
    for name, taus in result["tau"].items():
        parts = [f"{part} {t:+.3f} [{a:+.3f}, {b:+.3f}]" for part, (t, a, b) in taus.items()]
        print(f"{name:13}" + "   ".join(parts), flush=True)
    if args.out:
        args.out.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
