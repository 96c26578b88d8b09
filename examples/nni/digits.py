"""A trial: train one child of a small convolutional space for a few epochs.

    nas-plugin experiment create --config examples/nni/digits.yml

By hand it trains the first candidates, or an architecture file::

    python examples/nni/digits.py --arc-checkpoint best.json --data mnist
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from nas_plugin.choice import InputChoice, LayerChoice
from nas_plugin.data import load_data, make_loader, split_indices
from nas_plugin.data.loader import Loader
from nas_plugin.experiment import (
    get_and_apply_next_architecture,
    report_final,
    report_intermediate,
)


def operations(channels: int) -> dict[str, nn.Module]:
    """The candidates of one place, all of the same shape."""
    return {
        "conv3x3": nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        ),
        "conv5x5": nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=2, bias=False), nn.BatchNorm2d(channels)
        ),
        "depthwise": nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        ),
        "identity": nn.Identity(),
    }


class Net(nn.Module):
    """Two chosen operations, a chosen pooling, and perhaps a shortcut around them."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.first = LayerChoice(operations(channels), key="cell/first")
        self.second = LayerChoice(operations(channels), key="cell/second")
        pools = {"max": nn.MaxPool2d(2), "average": nn.AvgPool2d(2)}
        self.pool = LayerChoice(pools, key="cell/pool")
        self.join = InputChoice(
            choose_from=["deep", "shortcut"], n_chosen=None, reduction="sum", key="cell/join"
        )
        self.head = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))  # (N, C, H, W)
        deep = self.second(F.relu(self.first(x)))
        joined = self.join({"deep": deep, "shortcut": x})
        x = self.pool(F.relu(x if joined is None else joined))
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arc-checkpoint", help="an architecture file, when run by hand")
    parser.add_argument("--data", default="digits", choices=["digits", "mnist"])
    parser.add_argument("--data-dir", help="the folder of MNIST's files")
    parser.add_argument("--limit", type=int, default=1400, help="training images (default 1400)")
    parser.add_argument("--epochs", type=int, default=6)
    args = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = get_and_apply_next_architecture(Net())

    data = load_data(args.data, root=args.data_dir, limit=args.limit)
    train, valid = split_indices(len(data), (0.8, 0.2), seed=0, targets=data.targets)
    loader = make_loader(data, batch_size=64, seed=0, indices=train)
    held_out = make_loader(data, batch_size=256, seed=0, indices=valid, shuffle=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    accuracy = 0.0
    for epoch in range(args.epochs):
        model.train()
        for images, targets in loader.batches(epoch):
            optimizer.zero_grad()
            F.cross_entropy(model(images), targets).backward()
            optimizer.step()
        accuracy = evaluate(model, held_out)
        report_intermediate(accuracy)

    image, _ = next(iter(held_out.batches(0)))
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
