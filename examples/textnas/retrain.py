"""Trains a found network for sentences from scratch.

    python examples/textnas/retrain.py --data sst2 --arc-checkpoint runs/textnas/architecture.json

The file is one that search.py wrote, or one of NNI's TextNAS. The validation part chooses the
epoch; its test accuracy is printed at the end, and model.pt holds its weights. The test part
chooses nothing. A training that was stopped continues with --resume.
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

from nas_plugin import apply_fixed_architecture
from nas_plugin.cli import guarded
from nas_plugin.profiling import count_params
from nas_plugin.runtime import seed_everything
from nas_plugin.scripts import (
    add_run_flags,
    add_text_flags,
    chosen,
    load_sentences,
    run_options,
    text_network,
)
from nas_plugin.trainers import BestEpoch, RetrainTrainer
from search_spaces.textnas import textnas


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_flags(parser, epochs=10, batch_size=128, learning_rate=0.002, weight_decay=1e-6,
                  data="sst2")  # fmt: skip
    parser.add_argument("--arc-checkpoint", "--arc_checkpoint", default="architecture.json",
                        help="architecture file")  # fmt: skip
    add_text_flags(parser, dropout=0.2)
    return parser.parse_args(argv)


def retrain(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    train, valid, test = (load_sentences(args, split) for split in ("train", "valid", "test"))
    supernet = text_network(textnas, args, train)
    words = count_params(supernet.get_submodule("embedding"))
    model = apply_fixed_architecture(supernet, args.arc_checkpoint)
    optimizer = Adam(model.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)
    cosine = partial(CosineAnnealingLR, T_max=args.epochs, eta_min=args.learning_rate / 400)
    best = BestEpoch(test, path=args.out / "model.pt")
    options = run_options(
        args, model, optimizer, "retrain", train=train, valid=valid, schedule=cosine,
        callbacks=[best],
    )  # fmt: skip
    trainer = RetrainTrainer(**options)
    trainer.train()
    if trainer.ranks.is_first:
        print(
            f"{chosen(best)}; parameters {count_params(model):,}, {words:,} of them in the "
            "embedding"
        )


if __name__ == "__main__":
    sys.exit(guarded(lambda: retrain(parse())))
