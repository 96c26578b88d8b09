"""Searches a network for images with ENAS: as a whole (macro), or its cells (micro).

    python examples/enas/search.py --search-for micro --data cifar10 --out runs/enas

The training part is split 90 to 10: into what trains the weights, and what rewards the controller
and ranks its last samples. Under --out (by default the working folder) come
checkpoints/epoch_N.json, architecture.json, search.jsonl, settings.json and TensorBoard events. A
search that was stopped continues with --resume. Defaults are those of the authors' scripts.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys
from functools import partial

from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from nas_plugin.cli import guarded
from nas_plugin.mutators import EnasMutator
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
from nas_plugin.trainers import ArchitectureCheckpoint, EnasTrainer, reward_accuracy
from search_spaces.enas import enas_macro, enas_micro

BUILDERS = {"macro": enas_macro, "micro": enas_micro}
RUN = {
    "macro": {"epochs": 310, "batch_size": 128, "weight_decay": 5e-4},
    "micro": {"epochs": 150, "batch_size": 160, "weight_decay": 2e-4},
}
CONTROLLER = {
    "macro": {"steps": 50, "aggregate": 20, "lr": 1e-3, "tanh": 1.5, "reduce": 1.0, "skip": 0.8},
    "micro": {"steps": 30, "aggregate": 10, "lr": 3.5e-3, "tanh": 1.1, "reduce": 2.5, "skip": 0.0},
}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--search-for", choices=list(BUILDERS), default="macro")
    kind = first.parse_known_args(argv)[0].search_for
    own = CONTROLLER[kind]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[first])
    add_run_flags(parser, learning_rate=0.05, **RUN[kind])
    add_execution_flag(parser)
    add = parser.add_argument
    add("--child-steps", type=int, help="weight steps per epoch; by default one pass over the data")
    add("--controller-steps", type=int, default=own["steps"], help="controller steps per epoch")
    add("--aggregate", type=int, default=own["aggregate"],
        help="architectures per controller step")  # fmt: skip
    add("--arch-learning-rate", type=float, default=own["lr"])
    add("--tanh-constant", type=float, default=own["tanh"], help="bounds the controller's logits")
    add("--op-tanh-reduce", type=float, default=own["reduce"],
        help="divides that bound for operations")  # fmt: skip
    add("--entropy-weight", type=float, default=1e-4)
    add("--skip-weight", type=float, default=own["skip"], help="weight of the skip penalty")
    add("--samples", type=int, default=10, help="architectures to rank; the best is returned")
    add_size_flags(parser, BUILDERS[kind])
    return parser.parse_args(argv)


def search(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    data = load_images(args)
    builder = BUILDERS[args.search_for]
    model = builder(**sizes_of(builder, args, data.image, data.classes))
    restarts = partial(
        CosineAnnealingWarmRestarts, T_0=10, T_mult=2, eta_min=args.learning_rate / 100
    )
    callbacks = [ArchitectureCheckpoint(args.out / "checkpoints")]
    options = trainer_options(args, data, model, "search", schedule=restarts, callbacks=callbacks)
    trainer = EnasTrainer(
        **options,
        reward_function=reward_accuracy,
        mutator=lambda m: EnasMutator(
            m,
            seed=args.seed,
            tanh_constant=args.tanh_constant,
            op_tanh_reduce=args.op_tanh_reduce,
        ),
        entropy_weight=args.entropy_weight,
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
