"""What every executor promises: it equals the blocks' own forward, gradients included."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.choice import Cell, Decision, LayerChoice
from nas_plugin.execution import Dispatcher, Executor
from nas_plugin.mutators import DartsMutator, Mutator, RandomMutator


class GroupedPointwise(Executor):
    """Runs layer choices of bias-free 1x1 convolutions and identities as one convolution.

    The smallest executor that groups blocks: it proves the seam and serves nothing else.
    """

    def not_supported_reasons(self, block: nn.Module, *, dense: bool) -> list[str]:
        if type(block) is not LayerChoice:
            return [f"a {type(block).__name__} is not a LayerChoice"]
        reasons = []
        if not dense:
            reasons.append("not all candidates run")
        if block.reduction != "sum" or block.return_mask:
            reasons.append("its output is more than the sum")
        for name, candidate in zip(block.names, block, strict=True):
            if type(candidate) is not nn.Conv2d:
                reasons.append(f"'{name}' is a {type(candidate).__name__}, not a Conv2d")
            elif candidate.kernel_size != (1, 1) or candidate.bias is not None:
                reasons.append(f"'{name}' is not a 1x1 convolution without bias")
            if candidate._forward_hooks or candidate._forward_pre_hooks:
                reasons.append(f"'{name}' has hooks")
        return reasons

    def signature(self, block: nn.Module) -> Hashable:
        assert isinstance(block, LayerChoice)
        return (len(block), block[0].in_channels, block[0].stride)

    def run(
        self, x: Tensor, blocks: Sequence[nn.Module], decisions: Sequence[Decision]
    ) -> list[Any]:
        kernels = []
        for block, decision in zip(blocks, decisions, strict=True):
            assert isinstance(block, LayerChoice) and decision.mix is not None
            # A mix of linear maps is the linear map of the mix.
            terms = [m * conv.weight for m, conv in zip(decision.mix, block, strict=True)]
            kernels.append(torch.stack(terms).sum(dim=0))
        out = nn.functional.conv2d(x, torch.cat(kernels))
        return list(torch.split(out, [kernel.shape[0] for kernel in kernels], dim=1))


class FanNet(nn.Module):
    """A cell of which some edges can be grouped and some cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell("cell", self._edge, n_nodes=3, n_inputs=2)

    @staticmethod
    def _edge(node: int, source: int) -> dict[str, nn.Module]:
        one = nn.Conv2d(4, 4, 1, bias=False)
        other = nn.Conv2d(4, 4, 3, padding=1) if (node + source) % 4 == 0 else one
        return {"one": one, "two": nn.Conv2d(4, 4, 1, bias=False), "other": other}

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cell(x, x)
        return out


def equals_the_eager_forward(executor: Executor, model: nn.Module, x: Tensor) -> None:
    """Outputs and gradients of weights, logits and input are those of the blocks themselves."""
    mutator = DartsMutator(model)
    with torch.no_grad():
        mutator.alphas.add_(torch.randn(mutator.alphas.shape, generator=mutator.generator))
    results = []
    for dispatch in (None, Dispatcher([executor])):
        mutator.binding.dispatch = dispatch
        mutator.reset()
        given = x.clone().requires_grad_()
        out = model(given)
        wanted = [given, mutator.alphas, *model.parameters()]
        results.append([out, *torch.autograd.grad((out**2).sum(), wanted)])
    mutator.unbind(model)
    for eager, dispatched in zip(*results, strict=True):
        assert torch.allclose(eager, dispatched, rtol=1e-9, atol=1e-9)


def serves_more_than_one_block(executor: Executor, model: nn.Module, x: Tensor) -> None:
    """In a dense step at least one group runs together, and hooks of what does not still fire."""
    mutator = DartsMutator(model)
    served: list[int] = []
    run = executor.run

    def counted(x: Tensor, blocks: Sequence[nn.Module], decisions: Sequence[Decision]) -> list[Any]:
        served.append(len(blocks))
        return run(x, blocks, decisions)

    executor.run = counted  # type: ignore[method-assign]
    mutator.binding.dispatch = Dispatcher([executor])
    mutator.reset()
    model(x)
    executor.run = run  # type: ignore[method-assign]
    mutator.unbind(model)
    assert served and min(served) > 1


def leaves_sampled_paths_alone(executor: Executor, model: nn.Module, x: Tensor) -> None:
    """A plain selection runs as the modules run it."""
    mutator: Mutator = RandomMutator(model)
    mutator.reset()
    eager = model(x)
    mutator.binding.dispatch = Dispatcher([executor])
    assert torch.equal(model(x), eager)
    mutator.unbind(model)


EXECUTOR_CHECKS: tuple[Callable[[Executor, nn.Module, Tensor], None], ...] = (
    equals_the_eager_forward,
    serves_more_than_one_block,
    leaves_sampled_paths_alone,
)
