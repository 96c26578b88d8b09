"""One call steps all parameters, and steps them as the plain loop does, whatever their layout."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop

from nas_plugin.runtime import frozen_garbage, fuse, is_fused, same_layouts


def test_known_optimizers_are_fused_and_choices_are_kept() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))

    for made in (SGD([weight], 0.1), Adam([weight]), AdamW([weight])):
        assert fuse(made) and is_fused(made)
    assert not fuse(RMSprop([weight]))
    for chosen in (SGD([weight], 0.1, foreach=True), Adam([weight], capturable=True)):
        assert not fuse(chosen) and not is_fused(chosen)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_fused_step_is_the_plain_one_where_layouts_differ(kind: type[SGD]) -> None:
    torch.manual_seed(0)
    start, grads = torch.randn(3, 2, 3, 3), torch.randn(4, 3, 2, 3, 3)
    options = {"momentum": 0.9} if kind is SGD else {}
    weights = [nn.Parameter(start.clone()), nn.Parameter(start.clone())]
    plain, fused = (kind([weight], lr=0.1, **options) for weight in weights)  # type: ignore[arg-type]
    assert fuse(fused)
    weights[1].data = start.contiguous(memory_format=torch.channels_last)

    for step, grad in enumerate(grads):
        if step == 2:  # the layout changes while there is state
            weights[1].data = weights[1].data.contiguous()
        for weight, optimizer in zip(weights, (plain, fused), strict=True):
            weight.grad = grad.clone()
            same_layouts(optimizer, [weight])
            optimizer.step()

    torch.testing.assert_close(weights[1].detach(), weights[0].detach())


def test_the_collector_is_as_it_was_after_training() -> None:
    before = gc.get_freeze_count()
    with frozen_garbage():
        assert gc.get_freeze_count() > 0
        with frozen_garbage():  # leaves a caller's alone
            pass
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == before == 0
