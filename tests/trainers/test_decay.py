"""Biases and normalisation are spared, and nothing is left out."""

from __future__ import annotations

import torch
from torch import nn

from nas_plugin.trainers import decay_groups


def test_only_weights_of_convolutions_and_linear_layers_decay() -> None:
    conv, norm, linear = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2)
    model = nn.Sequential(conv, norm, nn.Flatten(), linear)
    optimizer = torch.optim.SGD(decay_groups(model, 0.5), lr=0.1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()

    for name, parameter in model.named_parameters():
        factor = 0.95 if name in ("0.weight", "3.weight") else 1.0
        assert torch.allclose(parameter, factor * before[name]), name


def test_a_network_without_biases_gives_one_group() -> None:
    (group,) = decay_groups(nn.Linear(2, 2, bias=False), 0.1)
    assert group["weight_decay"] == 0.1 and len(group["params"]) == 1
