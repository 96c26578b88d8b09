"""One fan-out: which executor serves which candidates, remembered between forward passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from nas_plugin.choice.block import ChoiceBlock
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.execution.executor import Executor, Offer, Place, Plan
from nas_plugin.execution.watch import NormModes, Watch, hung_on, norms_in, refusal

#: Which rows run densely, the mode of the batch norms, and what executors may ask about the input.
Situation = tuple[tuple[bool, ...], NormModes, torch.dtype, torch.device, tuple[int, ...], bool]
#: Situations remembered a fan-out; a search has a handful.
REMEMBERED = 64


@dataclass(frozen=True, eq=False)
class Schedule:
    """Who runs what of a fan-out in one situation.

    Args:
        runs: Executor, plan, and the part of the channels that it sees, as one in so many; a
            row's outputs are added.
        rest: Row → candidates that run as modules and are added to what is served of the row. Rows
            of which nothing is served run as modules from end to end.
        served_by: Place → the executor's name.
        refused: Place → why it is not served, executor by executor. A row that is refused as a
            whole has its reason at k = -1.
    """

    runs: Sequence[tuple[Executor, Plan, int]]
    rest: Mapping[int, Sequence[int]]
    served_by: Mapping[Place, str] = field(default_factory=dict)
    refused: Mapping[Place, Sequence[str]] = field(default_factory=dict)


class Fan:
    """Modules that read one tensor, and the schedules that were made for them.

    Args:
        blocks: T choice blocks or plain modules.
        executors: In the order in which they are asked.
    """

    def __init__(self, blocks: Sequence[nn.Module], executors: Sequence[Executor]) -> None:
        self.blocks = tuple(blocks)
        self.executors = tuple(executors)
        self.watch = Watch(self.blocks)
        self._schedules: dict[Situation, Schedule] = {}
        self.last: Schedule | None = None

    def schedule(self, x: Tensor, dense: tuple[bool, ...]) -> Schedule:
        """Returns who runs what on `x`.

        Args:
            x: The input.
            dense: For every block, whether all its candidates run and are mixed; True for a
                module that is no choice block.
        """
        if not self.watch.holds():
            self._schedules.clear()
            self.watch = Watch(self.blocks)
        situation = (
            dense,
            self.watch.mode(),
            x.dtype,
            x.device,
            tuple(x.shape),
            x.is_contiguous(memory_format=torch.channels_last),
        )
        found = self._schedules.get(situation)
        if found is None:
            if len(self._schedules) >= REMEMBERED:
                self._schedules.clear()
            found = self._schedules[situation] = self._made(x, dense)
        self.last = found
        return found

    def _made(self, x: Tensor, dense: Sequence[bool]) -> Schedule:
        refused: dict[Place, list[str]] = {}
        offers: dict[tuple[bool, int], list[Offer]] = {}  # mixed, partial → candidates
        for row, block in enumerate(self.blocks):
            reason = block_refusal(block, dense=dense[row])
            if reason is not None:
                refused[row, -1] = [reason]
                continue
            kind, candidates = (False, 1), [block]
            if isinstance(block, LayerChoice):
                kind, candidates = (True, block.partial), list(block)
                if x.shape[1] % block.partial:
                    refused[row, -1] = ["its partial channels do not divide those of the input"]
                    continue
            for k, candidate in enumerate(candidates):
                reason = refusal(candidate)
                if reason is None:
                    offers.setdefault(kind, []).append(Offer((row, k), candidate))
                else:
                    refused[row, k] = [reason]
        runs: list[tuple[Executor, Plan, int]] = []
        served_by: dict[Place, str] = {}
        shared = shared_norms([offer for each in offers.values() for offer in each])
        refused.update((place, ["shares a batch norm with another candidate"]) for place in shared)
        for (mixed, partial), each in offers.items():
            seen = x[:, : x.shape[1] // partial]
            kept = [offer for offer in each if offer.place not in shared]
            for executor, plan in self._plans(seen, kept, mixed, refused):
                runs.append((executor, plan, partial))
                served_by.update((place, executor.name) for place in plan.served)
        rows = {row for _, plan, _ in runs for row in plan.rows}
        rest = {
            row: [k for k in range(len(block)) if (row, k) not in served_by]
            for row, block in enumerate(self.blocks)
            if row in rows and isinstance(block, LayerChoice)
        }
        return Schedule(
            runs,
            {row: unserved for row, unserved in rest.items() if unserved},
            served_by,
            refused,
        )

    def _plans(
        self, x: Tensor, offers: Sequence[Offer], mixed: bool, refused: dict[Place, list[str]]
    ) -> Iterator[tuple[Executor, Plan]]:
        """Yields the plans that run; each executor is offered what those before left."""
        left = list(offers)
        for executor in self.executors:
            if not left:
                return
            planned = executor.plan(left, mixed=mixed)
            reasons = dict(planned.refused)
            taken: set[Place] = set()
            for plan in planned.plans:
                reason = executor.refuses(x, plan)
                if reason is None and len(plan.rows) < plan.smallest:
                    reason = f"fewer than {plan.smallest} blocks together are not faster"
                if reason is None:
                    taken.update(plan.served)
                    yield executor, plan
                else:
                    reasons.update(dict.fromkeys(plan.served, reason))
            for place, reason in reasons.items():
                refused.setdefault(place, []).append(f"{executor.name}: {reason}")
            left = [offer for offer in left if offer.place not in taken]


def block_refusal(block: nn.Module, *, dense: bool) -> str | None:
    """Returns why a block runs as it is; None if its candidates may be offered."""
    if not isinstance(block, ChoiceBlock):
        return None
    if type(block) is not LayerChoice:
        return f"{type(block).__name__} is no LayerChoice"
    if not dense:
        return "not all candidates run and are mixed"
    if block.reduction != "sum" or block.return_mask:
        return "its output is more than the sum"
    return hung_on(block)


def shared_norms(offers: Sequence[Offer]) -> set[Place]:
    """Returns the places whose candidates have a batch norm that another one has too.

    It would see two batches, one after the other.
    """
    owners: dict[int, set[Place]] = {}
    for offer in offers:
        for norm in norms_in(offer.module):
            owners.setdefault(id(norm), set()).add(offer.place)
    return {place for places in owners.values() if len(places) > 1 for place in places}
