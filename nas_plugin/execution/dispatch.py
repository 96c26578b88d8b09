"""Runs a fan-out: what an executor serves by it, everything else as the modules they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from nas_plugin.choice.block import ChoiceBlock, reduce_chosen
from nas_plugin.choice.decision import Decision
from nas_plugin.choice.isolate import isolated
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.choice.partial import split_channels
from nas_plugin.execution.executor import Executor
from nas_plugin.execution.fan import Fan, Schedule


class Dispatcher:
    """Computes ``[block(x) for block in blocks]``, served by executors where they can.

    Single paths cost one look at their decisions.

    Args:
        served_by: In the order in which they are asked; each gets what those before left.
    """

    def __init__(self, served_by: Sequence[Executor]) -> None:
        self.executors = tuple(served_by)
        self._fans: dict[tuple[nn.Module, ...], Fan] = {}

    def __call__(self, x: Any, blocks: Sequence[nn.Module]) -> list[Any]:
        decisions = [b.decision() if isinstance(b, ChoiceBlock) else None for b in blocks]
        dense = tuple(d is None or is_dense(d) for d in decisions)
        if not any(dense) or not _is_plain_image(x):
            return [isolated(block, x) for block in blocks]
        key = tuple(blocks)
        fan = self._fans.get(key)
        if fan is None:
            fan = self._fans[key] = Fan(key, self.executors)
        return self._run(x, fan.schedule(x, dense), blocks, decisions)

    @property
    def fans(self) -> list[Fan]:
        """The fan-outs that were run densely since the last `forget`."""
        return list(self._fans.values())

    def forget(self) -> None:
        """Drops all plans, with the modules that they hold."""
        self._fans.clear()

    def __getstate__(self) -> dict[str, Any]:
        # Plans hold modules, of which a copy must not bring copies along.
        return {**self.__dict__, "_fans": {}}

    def _run(
        self,
        x: Tensor,
        schedule: Schedule,
        blocks: Sequence[nn.Module],
        decisions: Sequence[Decision | None],
    ) -> list[Any]:
        outs: list[Any] = [None] * len(blocks)
        for executor, plan, partial in schedule.runs:
            seen = x if partial == 1 else x[:, : x.shape[1] // partial]
            mix = mix_of([decisions[row] for row in plan.rows])
            for row, out in zip(plan.rows, executor.run(seen, plan, mix), strict=True):
                outs[row] = out if outs[row] is None else outs[row] + out
        for row, out in enumerate(outs):
            block = blocks[row]
            if out is None:
                outs[row] = isolated(block, x)
            elif isinstance(block, LayerChoice):
                outs[row] = _completed(x, block, decisions[row], out, schedule.rest.get(row, ()))
        return outs


def _completed(
    x: Tensor,
    block: LayerChoice,
    decision: Decision | None,
    out: Tensor,
    unserved: Sequence[int],
) -> Any:
    """Returns the mix of what is served, with what no executor serves.

    Raises:
        ChoiceError: If outputs differ in shape.
    """
    assert decision is not None
    seen, rest = x, None
    if block.partial > 1:
        seen, rest = split_channels(x, block.partial, block.label)
    total: Any = out
    for k in unserved:
        added = block.weighted(decision.mix, k, isolated(block[k], seen))
        names = ["the others", block.names[k]]
        total = reduce_chosen([total, added], names, "sum", block.key)
    return block.completed(total, (x,), rest)


def is_dense(decision: Decision) -> bool:
    """Says whether all candidates of a block run, are mixed and are there for their own sake."""
    mix = decision.mix
    return mix is not None and len(decision.active) == len(mix) and not decision.watched


def mix_of(decisions: Sequence[Decision | None]) -> Tensor | None:
    """Returns the coefficients of the rows of a plan, ``(T, K)``; None for plain modules."""
    rows = [d.mix for d in decisions if d is not None and d.mix is not None]
    if not rows:
        return None
    if all(len(row) == len(rows[0]) for row in rows):
        return torch.stack(rows)
    return pad_sequence(rows, batch_first=True)


def _is_plain_image(x: Any) -> bool:
    return (
        type(x) is Tensor
        and x.dim() == 4
        and x.is_floating_point()
        and x.shape[0] > 0
        and not torch.is_autocast_enabled(x.device.type)
    )
