"""Searches a network for sentences with ENAS in the space of TextNAS.

    python examples/textnas/search.py --data sst2 --glove glove.6B.300d.txt --out runs/textnas

The training part is split 90 to 10: into what trains the weights, and what rewards the controller
and ranks its last samples. The validation part is only reported. Under --out (by default the
working folder) come checkpoints/epoch_N.json, architecture.json, search.jsonl, settings.json and
TensorBoard events. A search that was stopped continues with --resume.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys
from functools import partial

from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from nas_plugin.cli import guarded
from nas_plugin.mutators import EnasMutator
from nas_plugin.runtime import seed_everything
from nas_plugin.scripts import (
    add_execution_flag,
    add_run_flags,
    add_text_flags,
    load_sentences,
    run_options,
    run_search,
    text_network,
)
from nas_plugin.trainers import ArchitectureCheckpoint, EnasTrainer, reward_accuracy
from search_spaces.textnas import textnas


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_flags(parser, epochs=10, batch_size=128, learning_rate=5e-3, weight_decay=2e-6,
                  data="sst2")  # fmt: skip
    add_execution_flag(parser)
    add = parser.add_argument
    add("--child-steps", type=int, help="weight steps per epoch; by default one pass over the data")
    add("--controller-steps", type=int, default=500, help="controller steps per epoch")
    add("--aggregate", type=int, default=1, help="architectures per controller step")
    add("--arch-learning-rate", type=float, default=2e-3)
    add("--tanh-constant", type=float, default=1.5, help="bounds the controller's logits")
    add("--skip-weight", type=float, default=0.8, help="weight of the skip penalty")
    add("--samples", type=int, default=10, help="architectures to rank; the best is returned")
    add_text_flags(parser, dropout=0.5)
    return parser.parse_args(argv)


def search(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    train, valid = (load_sentences(args, split) for split in ("train", "valid"))
    model = text_network(textnas, args, train)
    optimizer = Adam(
        model.parameters(), lr=args.learning_rate, eps=1e-3, weight_decay=args.weight_decay
    )
    cosine = partial(CosineAnnealingLR, T_max=args.epochs, eta_min=1e-5)
    callbacks = [ArchitectureCheckpoint(args.out / "checkpoints")]
    options = run_options(
        args, model, optimizer, "search", train=train, valid=valid, schedule=cosine,
        callbacks=callbacks,
    )  # fmt: skip
    trainer = EnasTrainer(
        **options,
        reward_function=reward_accuracy,
        mutator=lambda m: EnasMutator(m, seed=args.seed, tanh_constant=args.tanh_constant),
        skip_weight=args.skip_weight,
        child_steps=args.child_steps,
        arch_learning_rate=args.arch_learning_rate,
        mutator_steps=args.controller_steps,
        mutator_steps_aggregate=args.aggregate,
        samples=args.samples,
    )
    run_search(trainer, args)


if __name__ == "__main__":
    sys.exit(guarded(lambda: search(parse())))
