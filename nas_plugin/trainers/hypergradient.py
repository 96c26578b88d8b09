"""The gradient of the held-out loss with respect to the logits, through one step of the weights.

With ``w' = w - xi (mu buf + grad_w L_trn(w, alpha) + lambda w)``, the virtual step of SGD::

    d L_val(w', alpha) / d alpha = grad_alpha L_val(w', alpha) - xi (d2 L_trn / d alpha d w) v
    v = grad_w' L_val(w', alpha)

References:
    Liu et al. 2019, equations 6 to 8, https://arxiv.org/abs/1806.09055
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from nas_plugin.errors import OptionError

#: Parameters → the gradient of one loss; None where the loss does not reach a parameter.
Gradient = Callable[[Sequence[nn.Parameter]], list[Tensor | None]]
#: A vector v over the weights → ``(d2 L_trn / d alpha d w) v``.
Product = Callable[[list[Tensor]], list[Tensor | None]]


def second_order(
    optimizer: Optimizer,
    weights: Sequence[nn.Parameter],
    alphas: Sequence[nn.Parameter],
    train_gradient: Gradient,
    valid_gradient: Gradient,
    product: Product,
) -> list[Tensor]:
    """Returns the gradient of each of `alphas`; weights are as before.

    Where a gradient of the weights overflowed, as in fp16 until the loss scale has settled, it is
    NaN and no forward pass sees the broken weights, which would spoil batch statistics for good:
    the passes see the weights as they are. Nothing here waits for the device.

    Args:
        optimizer: SGD, whose step is the virtual one.
        weights: What the optimizer steps.
        alphas: The logits.
        train_gradient: Gradient of the training loss.
        valid_gradient: Gradient of the held-out loss.
        product: Called with the weights as they were.

    Raises:
        OptionError: If the optimizer is not plain SGD.
    """
    rates = learning_rates(optimizer, weights)
    step, is_known = zero_unless_finite(train_gradient(weights))
    virtual = virtual_weights(optimizer, weights, step)
    with swapped(weights, virtual):
        grads = valid_gradient([*alphas, *weights])
    direct = filled(grads[: len(alphas)], alphas)
    # The step's learning rate goes into v, so that parameter groups may have different ones.
    v, is_finite = zero_unless_finite(
        [
            rate * grad
            for rate, grad in zip(rates, filled(grads[len(alphas) :], weights), strict=True)
        ]
    )
    known = [grad for grad in v if grad is not None]
    implicit = filled(product(known), alphas)
    ok = is_known & is_finite
    return [
        torch.where(ok, first - second, float("nan"))
        for first, second in zip(direct, implicit, strict=True)
    ]


def finite_difference(
    weights: Sequence[nn.Parameter],
    train_gradient: Callable[[], list[Tensor | None]],
    *,
    radius: float = 0.01,
) -> Product:
    """Returns the paper's product: two gradients at ``w +- eps v``, ``eps = radius / ||v||``.

    The scale of v cancels in ``eps v`` and stays in ``/ (2 eps)``, so a learning rate inside v
    changes nothing but the result's factor. Of a v that is zero the product is zero.
    """

    def product(v: list[Tensor]) -> list[Tensor | None]:
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(v)))
        eps = torch.where(norm > 0, radius / norm, 1.0)
        step = torch._foreach_mul(v, eps)
        with swapped(weights, torch._foreach_add(list(weights), step)):
            plus = train_gradient()
        with swapped(weights, torch._foreach_sub(list(weights), step)):
            minus = train_gradient()
        # Keep the parentheses: "/ 2.0 * eps" multiplies by eps, and the second-order term
        # vanishes while the search still looks healthy.
        return [
            None if p is None or m is None else (p - m) / (2.0 * eps)
            for p, m in zip(plus, minus, strict=True)
        ]

    return product


def virtual_weights(
    optimizer: Optimizer, weights: Sequence[nn.Parameter], grads: Sequence[Tensor | None]
) -> list[Tensor]:
    """Returns what `weights` would be after one step of `optimizer` on `grads`.

    Those without a gradient stay, decay and momentum notwithstanding, as torch's SGD has it.

    Raises:
        OptionError: If it is not plain SGD.
    """
    check_plain_sgd(optimizer)
    gradient_of = {id(w): grad for w, grad in zip(weights, grads, strict=True)}
    after: dict[int, Tensor] = {id(w): w for w in weights}
    with torch.no_grad():
        for group in optimizer.param_groups:
            pairs = [(w, gradient_of[id(w)]) for w in group["params"]]
            moved = [w for w, grad in pairs if grad is not None]
            if not moved:
                continue
            grads_of_moved = [grad for _, grad in pairs if grad is not None]
            steps = torch._foreach_add(grads_of_moved, moved, alpha=group["weight_decay"])
            buffers = [optimizer.state.get(w, {}).get("momentum_buffer") for w in moved]
            rolling = [
                (step, buffer) for step, buffer in zip(steps, buffers, strict=True)
                if buffer is not None
            ]  # fmt: skip
            if group["momentum"] and rolling:
                of_steps, of_buffers = zip(*rolling, strict=True)
                torch._foreach_add_(of_steps, of_buffers, alpha=group["momentum"])
            virtual = torch._foreach_add(moved, steps, alpha=-group["lr"])
            after.update(zip(map(id, moved), virtual, strict=True))
    return [after[id(w)] for w in weights]


def check_plain_sgd(optimizer: Optimizer) -> None:
    """Raises OptionError if a step of `optimizer` is not the one that `virtual_weights` takes."""
    if not isinstance(optimizer, SGD) or any(
        group["nesterov"] or group["dampening"] or group["maximize"]
        for group in optimizer.param_groups
    ):
        raise OptionError(
            "The second-order step follows SGD with momentum and weight decay, without nesterov, "
            f"dampening or maximize; got {optimizer}. Use torch.optim.SGD or unrolled=False."
        )


def learning_rates(optimizer: Optimizer, weights: Sequence[nn.Parameter]) -> list[float]:
    """Returns the learning rate of each weight."""
    rate_of = {id(w): group["lr"] for group in optimizer.param_groups for w in group["params"]}
    return [float(rate_of[id(w)]) for w in weights]


@contextmanager
def swapped(params: Sequence[nn.Parameter], values: Sequence[Tensor]) -> Iterator[None]:
    """Lets parameters hold other values inside the block; nothing is copied."""
    before = [param.data for param in params]
    try:
        for param, value in zip(params, values, strict=True):
            param.data = value.detach()
        yield
    finally:
        for param, value in zip(params, before, strict=True):
            param.data = value


def zero_unless_finite(grads: Sequence[Tensor | None]) -> tuple[list[Tensor | None], Tensor]:
    """Returns gradients, all zero unless all are finite, and whether they are, on their device."""
    known = [grad for grad in grads if grad is not None]
    if not known:
        return list(grads), torch.tensor(True)
    finite = torch.isfinite(torch.stack(torch._foreach_norm(known))).all()
    return [None if grad is None else torch.where(finite, grad, 0.0) for grad in grads], finite


def filled(grads: Sequence[Tensor | None], params: Sequence[nn.Parameter]) -> list[Tensor]:
    """Returns gradients with zeros where a loss does not reach a parameter."""
    return [
        torch.zeros_like(param) if grad is None else grad
        for grad, param in zip(grads, params, strict=True)
    ]
