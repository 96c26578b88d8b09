"""A trial of the DARTS space: train one child for a few epochs.

    nas-plugin experiment create --config examples/nni/darts.yml

The child is small (8 channels, 5 cells) so that a trial takes minutes on a processor; give
``--data cifar10 --channels 16 --layers 8`` and more epochs on better machines.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from nas_plugin.data import load_data, make_loader, split_indices
from nas_plugin.data.loader import Loader
from nas_plugin.experiment import (
    get_and_apply_next_architecture,
    report_final,
    report_intermediate,
)
from search_spaces.darts import darts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arc-checkpoint", help="an architecture file, when run by hand")
    parser.add_argument("--data", default="digits", help="a data set's name (default digits)")
    parser.add_argument("--data-dir", help="the folder of the data set's files")
    parser.add_argument("--limit", type=int, default=1400, help="training images (default 1400)")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=3)
    args = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = load_data(args.data, root=args.data_dir, limit=args.limit)
    train, valid = split_indices(len(data), (0.8, 0.2), seed=0, targets=data.targets)
    loader = make_loader(data, batch_size=64, seed=0, indices=train, drop_last=True)
    held_out = make_loader(data, batch_size=256, seed=0, indices=valid, shuffle=False)
    image, _ = next(iter(held_out.batches(0)))

    model = get_and_apply_next_architecture(
        darts(
            channels=args.channels,
            layers=args.layers,
            nodes=args.nodes,
            classes=data.num_classes,
            in_channels=image.shape[1],
        )
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=3e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    accuracy = 0.0
    for epoch in range(args.epochs):
        model.train()
        for images, targets in loader.batches(epoch):
            optimizer.zero_grad()
            F.cross_entropy(model(images), targets).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
        schedule.step()
        accuracy = evaluate(model, held_out)
        report_intermediate(accuracy)

    with FlopCounterMode(display=False) as flops, torch.no_grad():
        model(image[:1])
    report_final(
        {
            "default": accuracy,
            "params": sum(p.numel() for p in model.parameters()),
            "flops": flops.get_total_flops(),
        }
    )


@torch.no_grad()
def evaluate(model: nn.Module, loader: Loader) -> float:
    """Returns the fraction of the images that are classified rightly."""
    model.eval()
    right = [model(images).argmax(1) == targets for images, targets in loader.batches(0)]
    return float(torch.cat(right).float().mean())


if __name__ == "__main__":
    main()
