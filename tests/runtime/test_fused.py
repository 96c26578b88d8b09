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


def test_weights_that_get_their_first_gradient_later_step_as_torch_steps_them() -> None:
    """Sampled candidates: what is drawn in the second step has no momentum yet."""
    found = []
    for fused in (False, True):
        torch.manual_seed(0)
        params = [nn.Parameter(torch.randn(3, 2)) for _ in range(3)]
        optimizer = torch.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
        if fused:
            assert fuse(optimizer)
        for drawn in ((0, 1), (1, 2), (0, 2), (0, 1, 2)):
            for i, param in enumerate(params):
                param.grad = torch.randn(3, 2) if i in drawn else None
            if fused:
                same_layouts(optimizer, params)
            optimizer.step()
        found.append([param.detach().clone() for param in params])
    assert all(torch.allclose(a, b, rtol=1e-6) for a, b in zip(*found, strict=True))
    dampened = torch.optim.SGD(params, lr=0.1, momentum=0.9, dampening=0.5)
    assert not fuse(dampened)
