"""What differentiable mutators share: noise of their own, hard values with soft gradients."""

from __future__ import annotations

import math

import torch

from nas_plugin.mutators import gumbel_noise, straight_through


def test_noise_is_standard_gumbel_and_follows_from_its_generator_alone() -> None:
    state = torch.get_rng_state()
    logits = torch.zeros(2000, 50, dtype=torch.float64)
    noise = gumbel_noise(logits, torch.Generator().manual_seed(0))
    again = gumbel_noise(logits, torch.Generator().manual_seed(0))

    assert noise.dtype == torch.float64 and torch.equal(noise, again)
    assert torch.equal(torch.get_rng_state(), state)
    # Mean Euler's constant, variance pi^2 / 6; the bounds are five standard errors.
    n = noise.numel()
    assert abs(float(noise.mean()) - 0.5772156649) < 5 * math.sqrt(math.pi**2 / 6 / n)
    assert abs(float(noise.var()) - math.pi**2 / 6) < 5 * math.sqrt(4.4 / n) * math.pi**2 / 6
    # The distribution function is exp(-exp(-x)).
    assert abs(float((noise < 0).double().mean()) - math.exp(-1)) < 5 * 0.5 / math.sqrt(n)


def test_the_largest_of_noisy_logits_is_a_draw_by_their_softmax() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    n = 40_000
    noisy = logits + gumbel_noise(logits.expand(n, 3), generator)
    share = torch.bincount(noisy.argmax(dim=1), minlength=3) / n

    assert float((share - logits.softmax(0)).abs().max()) < 5 * 0.5 / math.sqrt(n)


def test_straight_through_is_one_hot_and_passes_the_gradient_of_the_soft_values() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    upstream = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    soft = logits.softmax(dim=1)
    hard = straight_through(soft)
    (found,) = torch.autograd.grad((hard * upstream).sum(), logits)
    p = soft.detach()
    by_hand = p * (upstream - (p * upstream).sum(dim=1, keepdim=True))

    assert bool(((hard == 0) | (hard == 1)).all())
    assert torch.equal(hard.argmax(dim=1), logits.argmax(dim=1))
    assert bool((hard.sum(dim=1) == 1).all())
    assert torch.allclose(found, by_hand, rtol=1e-12)
