"""Searches a network with ProxylessNAS, its latency on a device among the losses.

    nas-plugin profile --space proxylessnas --set small_images=true --set classes=10 \
        --input 1,3,32,32 --latency --out latency.json
    python examples/proxylessnas/search.py --data cifar10 --latency-table latency.json \
        --latency-weight 0.01 --out runs/proxylessnas

The training part is split 90 to 10: weights, logits. Under --out (by default the working folder)
come checkpoints/epoch_N.json, architecture.json, search.jsonl, settings.json and TensorBoard
events. A search that was stopped continues with --resume.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys

from nas_plugin.cli import guarded
from nas_plugin.mutators import ProxylessMutator
from nas_plugin.profiling import CostTable
from nas_plugin.runtime import seed_everything
from nas_plugin.scripts import (
    add_execution_flag,
    add_run_flags,
    add_size_flags,
    load_images,
    run_search,
    sizes_of,
    trainer_options,
)
from nas_plugin.trainers import ArchitectureCheckpoint, ProxylessNasTrainer
from search_spaces.proxylessnas import proxylessnas


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_flags(parser, epochs=120, batch_size=128, learning_rate=0.025, weight_decay=4e-5,
                  label_smoothing=0.1)  # fmt: skip
    add_execution_flag(parser)
    add = parser.add_argument
    add("--variant", choices=["two", "full"], default="two", help="paths of a step of the logits")
    add("--warmup-epochs", type=int,
        help="epochs that train weights only (default: a third of them)")  # fmt: skip
    add("--arch-every", type=int, default=5, help="weight steps per step of the logits")
    add("--arch-learning-rate", type=float, default=1e-3)
    add("--latency-table", help="file of every candidate's cost, from nas-plugin profile")
    add("--latency-weight", type=float, default=0.0, help="weight of the expected latency, per ms")
    add_size_flags(parser, proxylessnas)
    return parser.parse_args(argv)


def search(args: argparse.Namespace) -> None:
    if args.warmup_epochs is None:
        args.warmup_epochs = args.epochs // 3
    seed_everything(args.seed)
    data = load_images(args)
    model = proxylessnas(**sizes_of(proxylessnas, args, data.image, data.classes))
    latency = None if args.latency_table is None else CostTable.read(args.latency_table)
    callbacks = [ArchitectureCheckpoint(args.out / "checkpoints")]
    trainer = ProxylessNasTrainer(
        **trainer_options(args, data, model, "search", callbacks=callbacks),
        mutator=lambda m: ProxylessMutator(
            m,
            seed=args.seed,
            variant=args.variant,
            latency=latency,
            latency_weight=args.latency_weight,
        ),
        warmup_epochs=args.warmup_epochs,
        arch_every=args.arch_every,
        arch_learning_rate=args.arch_learning_rate,
    )
    if run_search(trainer, args) and latency is not None:
        print(f"its latency by the table: {latency(trainer.export()):.3g} {latency.unit}")


if __name__ == "__main__":
    sys.exit(guarded(lambda: search(parse())))
