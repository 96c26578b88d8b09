"""The smooth network is smooth: derivatives are those of finite differences, batches add up."""

from __future__ import annotations

import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from nas_plugin import DartsMutator
from nas_plugin.testing import smooth_net


def made(partial: int = 1) -> tuple[nn.Module, DartsMutator]:
    torch.manual_seed(0)
    model = smooth_net(channels=2, partial=partial).double()
    return model, DartsMutator(model, scale=1.0).double()


def test_first_and_second_derivatives_are_those_of_finite_differences() -> None:
    for partial in (1, 2):
        model, mutator = made(partial)
        x = torch.randn(2, 1, 4, 4, dtype=torch.float64)

        def loss(alphas: torch.Tensor, weight: torch.Tensor, model: nn.Module = model,
                 mutator: DartsMutator = mutator, x: torch.Tensor = x) -> torch.Tensor:  # fmt: skip
            mutator.alphas, head = alphas, model.head  # type: ignore[assignment]
            mutator.reset()
            seen: list[torch.Tensor] = []
            hook = head.register_forward_pre_hook(lambda _, a: seen.append(a[0]))
            model(x)
            hook.remove()
            return (seen[0] @ weight.T).square().sum()

        alphas = mutator.alphas.detach().clone().requires_grad_()
        weight = model.head.weight.detach().clone().requires_grad_()
        del mutator._parameters["alphas"]
        assert gradcheck(loss, (alphas, weight), eps=1e-6, atol=1e-6)
        assert gradgradcheck(loss, (alphas, weight), eps=1e-5, atol=1e-5)


def test_a_batch_is_the_mean_of_its_samples_and_nothing_is_random() -> None:
    model, mutator = made()
    mutator.reset()
    x = torch.randn(6, 1, 4, 4, dtype=torch.float64)

    assert torch.allclose(model(x), torch.cat([model(x[:2]), model(x[2:])]), rtol=1e-12)
    assert torch.equal(model(x), model(x))
    assert not list(model.buffers())
