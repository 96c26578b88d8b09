"""The Hessian of the held-out loss over the logits: exact products, and the largest eigenvalue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nas_plugin.data.loader import Batch
from nas_plugin.errors import OptionError
from nas_plugin.mutators import Mutator
from nas_plugin.mutators._differentiable import DifferentiableMutator
from nas_plugin.operations.batch_norm import kept_statistics
from nas_plugin.trainers.fit import copied
from nas_plugin.trainers.gradients import Gradients


@contextmanager
def hessian_products(
    gradients: Gradients, batches: Sequence[Batch], alphas: nn.Parameter
) -> Iterator[Callable[[Tensor], Tensor]]:
    """Gives the function ``v -> H v``, H the Hessian of the mean loss of some batches.

    The graph of the first gradient is built once and kept, so that all products are of one
    function, draws and dropout included. Batch statistics stay as they are.

    Args:
        gradients: The gradients object of the search.
        batches: On which the weights are not trained.
        alphas: The logits, ``(B, K)``.
    """
    parts: list[Tensor] = []
    objective, precision = gradients.objective, gradients.precision
    with kept_statistics(objective.model), gradients.only([alphas]) as needs_alphas:
        for batch in batches:
            for part, share in gradients.parts(batch, needs_alphas):
                loss = objective(part, held_out=True)[0] * share / len(batches)
                (grad,) = torch.autograd.grad(precision.scale(loss), alphas, create_graph=True)
                parts.append(grad)

        def product(v: Tensor) -> Tensor:
            total = torch.zeros_like(v)
            for grad in parts:
                if grad.requires_grad:
                    (term,) = torch.autograd.grad(
                        grad, alphas, grad_outputs=v, retain_graph=True, allow_unused=True
                    )
                    total = total if term is None else total + term
            found = gradients.averaged([total])[0]
            assert found is not None
            return found

        yield product


def largest_eigenvalue(
    product: Callable[[Tensor], Tensor], n: int, iterations: int, *, seed: int = 0
) -> float:
    """Returns the largest eigenvalue of a symmetric matrix by Lanczos iteration.

    All vectors are orthogonalised against each other, so that `n` iterations are exact.

    Args:
        product: The matrix times a vector ``(n,)`` of double precision.
        n: Its size.
        iterations: Products at most.
        seed: Seed of the first vector.
    """
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(n, generator=generator, dtype=torch.float64)
    v /= v.norm()
    basis: list[Tensor] = []
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for _ in range(min(n, iterations)):
        basis.append(v)
        w = product(v)
        diagonal.append(v @ w)
        known = torch.stack(basis)
        for _ in range(2):  # twice is enough for orthogonality to rounding
            w = w - known.T @ (known @ w)
        norm = w.norm()
        if len(basis) == n or norm <= 1e-10 * torch.stack(diagonal).abs().max():
            break
        beside.append(norm)
        v = w / norm
    off = torch.stack(beside[: len(diagonal) - 1]) if len(diagonal) > 1 else torch.zeros(0)
    matrix = torch.diag(torch.stack(diagonal)) + torch.diag(off, 1) + torch.diag(off, -1)
    return float(torch.linalg.eigvalsh(matrix)[-1])


def check_twice_differentiable(mutator: Mutator) -> DifferentiableMutator:
    """Returns a mutator whose mixes have a second derivative with respect to its logits.

    Raises:
        OptionError: If they do not.
    """
    name = type(mutator).__name__
    if not isinstance(mutator, DifferentiableMutator):
        raise OptionError(f"{name} has no logits, so there is no Hessian over them.")
    twin = copied(mutator)
    assert isinstance(twin, DifferentiableMutator)
    with torch.enable_grad():
        mixes = twin.relax(twin.alphas)
        weights = torch.arange(1, mixes.shape[1] + 1, dtype=mixes.dtype, device=mixes.device)
        # A square, so that the gradient that arrives at `relax` has a graph of its own.
        value = (mixes * weights).square().sum()
        (grad,) = torch.autograd.grad(value, twin.alphas, create_graph=True)
    # torch marks what is differentiable once by a node that fails, but never visits that node on
    # the way to the logits: the product would lack a term and nothing would say so.
    if any("Error" in name for name in _nodes(grad)):
        raise OptionError(
            f"The mixes of {name} have no second derivative, so there is no Hessian over its "
            "logits. Use another stop, or a mutator such as darts."
        )
    return mutator


def _nodes(tensor: Tensor) -> set[str]:
    """Returns the names of all nodes of a tensor's graph."""
    seen = {tensor.grad_fn}
    left = [tensor.grad_fn]
    while left:
        node = left.pop()
        for following, _ in node.next_functions if node is not None else ():
            if following is not None and following not in seen:
                seen.add(following)
                left.append(following)
    return {node.name() for node in seen if node is not None}
