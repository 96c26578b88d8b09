"""Probabilities of choosing m of n by logits: one, several, or any number of them.

One of n is the softmax. m of n weighs each set S of m by ``exp(sum of its logits)``, the
conditional Poisson distribution. Any number takes each by itself with ``sigmoid(logit)``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def log_prob(logits: Tensor, chosen: tuple[int, ...], m: int | None) -> Tensor:
    """Returns the log probability of choosing exactly `chosen`; logits ``(n,)``."""
    mask = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    mask[list(chosen)] = True
    if m is None:
        return F.logsigmoid(torch.where(mask, logits, -logits)).sum()
    return logits[mask].sum() - _log_sums(logits, m)[0][m]


def inclusion(logits: Tensor, m: int | None) -> Tensor:
    """Returns the probability of each to be among the chosen, ``(n,)``; it sums to m."""
    if m is None:
        return logits.sigmoid()
    if m == 1:
        return logits.softmax(dim=0)
    total = _log_sums(logits, m)[0][m]
    terms = []
    for i in range(len(logits)):
        others = torch.cat([logits[:i], logits[i + 1 :]])
        terms.append(logits[i] + _log_sums(others, m - 1)[0][m - 1] - total)
    return torch.stack(terms).exp()


def entropy(logits: Tensor, m: int | None) -> Tensor:
    """Returns the entropy of the choice in nats."""
    p = inclusion(logits, m)
    if m is None:
        return -(p * F.logsigmoid(logits) + (1 - p) * F.logsigmoid(-logits)).sum()
    return _log_sums(logits, m)[0][m] - (p * logits).sum()


@torch.no_grad()
def draw(logits: Tensor, m: int | None, generator: torch.Generator) -> tuple[int, ...]:
    """Draws the chosen ones, ascending; the generator lies on the CPU."""
    logits = logits.detach().double().cpu()
    n = len(logits)
    if m == 1:
        return (int(torch.multinomial(logits.softmax(dim=0), 1, generator=generator)),)
    uniform = torch.rand(n, generator=generator, dtype=torch.float64)
    if m is None:
        return tuple(torch.nonzero(uniform < logits.sigmoid()).flatten().tolist())
    sums = _log_sums(logits, m)
    chosen: list[int] = []
    for i in range(n):
        wanted = m - len(chosen)
        if wanted == 0:
            break
        # Of the sets of `wanted` from i on, the share that holds i.
        share = (logits[i] + sums[i + 1][wanted - 1] - sums[i][wanted]).exp()
        if uniform[i] < share:
            chosen.append(i)
    return tuple(chosen)


def strongest(logits: Tensor, m: int | None) -> tuple[int, ...]:
    """Returns the most probable choice, ascending."""
    if m is None:
        return tuple(torch.nonzero(logits > 0).flatten().tolist())
    return tuple(sorted(logits.topk(m).indices.tolist()))


def _log_sums(logits: Tensor, m: int) -> list[list[Tensor]]:
    """Returns, for each i, the log of the sum over sets of 0 … m of the logits from i on.

    Entry [i][r] is ``log sum_{S in {i … n-1}, |S| = r} exp(sum_S logits)``.
    """
    nothing, impossible = logits.new_zeros(()), logits.new_full((), float("-inf"))
    if m == 1:
        tails = logits.flip(0).logcumsumexp(dim=0).flip(0)
        return [[nothing, tail] for tail in tails] + [[nothing, impossible]]
    rows = [[nothing] + [impossible] * m]
    for i in reversed(range(len(logits))):
        after = rows[0]
        row = [nothing]
        for r in range(1, m + 1):
            with_i = logits[i] + after[r - 1]
            row.append(with_i if after[r].isneginf() else torch.logaddexp(after[r], with_i))
        rows.insert(0, row)
    return rows
