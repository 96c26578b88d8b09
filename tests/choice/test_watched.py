"""What runs for the sake of its coefficient alone is a constant, an identity too."""

from __future__ import annotations

import torch
from torch import nn

from nas_plugin.choice import Decision, LayerChoice
from nas_plugin.choice.binding import Binding


def test_no_gradient_passes_through_a_watched_candidate_even_if_it_is_the_identity() -> None:
    for watched in (nn.Identity(), nn.Tanh()):
        block = LayerChoice([nn.Sigmoid(), watched], key="k")
        binding = Binding("test")
        binding.attach(block)
        mix = torch.tensor([1.0, 0.5], dtype=torch.float64, requires_grad=True)
        binding.decisions = {"k": Decision(mix, (0, 1), watched=(1,))}
        x = torch.tensor([0.3, -1.2], dtype=torch.float64, requires_grad=True)
        block(x)  # the first run of a module is on a copy, which hides the identity
        of_x, of_mix = torch.autograd.grad(block(x).sum(), [x, mix])

        s = x.detach().sigmoid()
        assert torch.allclose(of_x, s * (1 - s), rtol=1e-12)
        assert torch.allclose(of_mix[1], watched(x.detach()).sum(), rtol=1e-12)
