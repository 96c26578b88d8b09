"""Which blocks of a fan-out run together, and why the others do not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nas_plugin.choice.binding import Binding
from nas_plugin.choice.block import ChoiceBlock
from nas_plugin.choice.decision import Decision
from nas_plugin.choice.isolate import copied, isolated
from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.errors import NasError, OptionError
from nas_plugin.registry import Registry

executors: Registry[type[Executor]] = Registry("executor", package="nas_plugin.execution")
EXECUTIONS = ("auto", "eager")


class Executor(ABC):
    """Runs several blocks on one input faster than one by one, with equal results.

    It matches types exactly, keeps no tensor and no changing state between forwards, and reads
    parameters through the modules, which stay their owners. It never writes into its input, and
    calls candidates that it does not serve through `nas_plugin.choice.isolated`.
    """

    name: ClassVar[str]

    def __init_subclass__(cls, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            cls.name = name
            executors.add(name, cls)

    @abstractmethod
    def not_supported_reasons(self, block: nn.Module, *, dense: bool) -> list[str]:
        """Returns why `block` cannot be served; empty where it can.

        Args:
            block: A module of a fan-out.
            dense: Whether all candidates run, as in DARTS.
        """

    @abstractmethod
    def signature(self, block: nn.Module) -> Hashable:
        """Returns what blocks must share to run together."""

    @abstractmethod
    def run(
        self, x: Tensor, blocks: Sequence[nn.Module], decisions: Sequence[Decision]
    ) -> list[Any]:
        """Returns ``[block(x) for block in blocks]``."""


class Dispatcher:
    """Groups the blocks of a fan-out by the first executor that serves them.

    Blocks that no executor serves, or that are alone in their group, run as modules, so that their
    hooks fire.
    """

    def __init__(self, served_by: Sequence[Executor]) -> None:
        self.executors = tuple(served_by)

    def __call__(self, x: Tensor, blocks: Sequence[nn.Module]) -> list[Any]:
        groups: dict[tuple[int, Hashable], list[int]] = {}
        for position, block in enumerate(blocks):
            if has_extras(block):
                continue
            for rank, executor in enumerate(self.executors):
                if not executor.not_supported_reasons(block, dense=is_dense(block)):
                    groups.setdefault((rank, executor.signature(block)), []).append(position)
                    break
        outs: dict[int, Any] = {}
        for (rank, _), positions in groups.items():
            if len(positions) > 1:
                chosen = [blocks[i] for i in positions]
                decisions = [b.decision() for b in chosen if isinstance(b, ChoiceBlock)]
                results = self.executors[rank].run(x, chosen, decisions)
                outs.update(zip(positions, results, strict=True))
        return [outs[i] if i in outs else isolated(block, x) for i, block in enumerate(blocks)]


def has_extras(block: nn.Module) -> bool:
    """Says whether a block does what only its own forward does, such as partial channels."""
    return isinstance(block, ChoiceBlock) and bool(block.extras())


def is_dense(block: nn.Module) -> bool:
    """Says whether all candidates of a bound block run in this step."""
    if not isinstance(block, ChoiceBlock) or block.binding is None:
        return False
    decision = block.decision()
    return decision.mix is not None and len(decision.active) == len(block.candidates)


def attach(binding: Binding, execution: str = "auto") -> None:
    """Chooses how the models of a mutator run.

    Args:
        binding: The mutator's.
        execution: ``auto`` uses every registered executor where it can serve, ``eager`` none.

    Raises:
        OptionError: If `execution` is something else.
    """
    if execution not in EXECUTIONS:
        raise OptionError(f"execution must be one of {', '.join(EXECUTIONS)}, got {execution!r}.")
    served_by = [executors.get(name)() for name in executors] if execution == "auto" else []
    binding.dispatch = Dispatcher(served_by) if served_by else None


def explain(model: nn.Module) -> list[str]:
    """Returns, for every choice block, who runs it and why others do not, one line each."""
    lines = []
    served_by = [executors.get(name)() for name in executors]
    for place in keyed_blocks(model):
        refusals = []
        if has_extras(place.block):
            does = ", ".join(place.block.extras())
            lines.append(f"{place.path}: block by block (its own forward alone does: {does})")
            continue
        for executor in served_by:
            reasons = executor.not_supported_reasons(place.block, dense=is_dense(place.block))
            if not reasons:
                lines.append(f"{place.path}: {executor.name}")
                break
            refusals.append(f"{executor.name}: {', '.join(reasons)}")
        else:
            why = "; ".join(refusals) or "no executor is registered"
            lines.append(f"{place.path}: block by block ({why})")
    return lines


def verify(model: nn.Module, binding: Binding, *inputs: Tensor, atol: float = 1e-5) -> float:
    """Runs `model` eagerly and dispatched with the decisions made; returns the largest difference.

    Raises:
        NasError: If it exceeds `atol`.
    """
    before, training = binding.dispatch, model.training
    model.eval()
    try:
        with torch.no_grad():
            attach(binding, "eager")
            eager = model(*copied(inputs))
            attach(binding, "auto")
            fused = model(*copied(inputs))
    finally:
        binding.dispatch = before
        model.train(training)
    difference = float((eager - fused).abs().max())
    if not difference <= atol:
        raise NasError(
            f"The dispatched forward differs from the eager one by {difference:.3g}, more than "
            f"{atol:.3g}. Search with execution='eager' and report the model."
        )
    return difference
