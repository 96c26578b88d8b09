"""One of several layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.choice.block import ChoiceBlock, check_reduction, mask_of, reduce_chosen
from nas_plugin.choice.decision import Decision
from nas_plugin.choice.isolate import isolated
from nas_plugin.choice.partial import joined_channels, split_channels
from nas_plugin.errors import ChoiceError


class LayerChoice(ChoiceBlock):
    """Chooses among K candidates that map the same input to same-shaped outputs.

    During search the output is a mix of candidates; after fixing an architecture it is one of them.
    The candidates are children of the block, under their own names. Where several run, none sees
    what another writes into the input (`isolated`), and the input stays as it is.

    Args:
        op_candidates: Name → module, or a list of modules (named "0", "1", …).
        reduction: ``sum``, ``mean``, ``concat`` (dim 1) or ``none`` (a list).
        return_mask: Also return which candidates were active, ``(K,)`` bool.
        key: Blocks with equal keys share one decision; the module's path if None.
        partial: k, where candidates see the first C / k of C channels only; the others pass them
            by (max-pooled if candidates halve the maps), and all are shuffled (PC-DARTS).

    Attributes:
        auxiliary: A module whose output is added, times `auxiliary_scale`, while a search runs;
            no architecture holds it (DARTS-).

    Shape:
        - Input: what the candidates take
        - Output: what the candidates give, all of one shape unless ``concat`` or ``none``
        - ``Decision.mix``: ``(K,)``, in the order of ``op_candidates``

    Raises:
        ChoiceError: If ``op_candidates`` is empty, holds something else than modules, or a name
            is reserved.
    """

    kind = "layer"

    def __init__(
        self,
        op_candidates: Mapping[str, nn.Module] | Sequence[nn.Module],
        reduction: str = "sum",
        return_mask: bool = False,
        key: str | None = None,
        partial: int = 1,
    ) -> None:
        super().__init__(key)
        self.reduction = check_reduction(reduction)
        self.return_mask = return_mask
        if type(partial) is not int or partial < 1:
            raise ChoiceError(f"{self.label}: partial is a whole number from 1, got {partial!r}.")
        if partial > 1 and self.reduction in ("concat", "none"):
            raise ChoiceError(
                f"{self.label}: partial channels need one output; use reduction='sum' or 'mean'."
            )
        self.partial = partial
        self.auxiliary: nn.Module | None = None
        self.auxiliary_scale = 0.0
        self.names: list[str] = []
        if not isinstance(op_candidates, (Mapping, Sequence, nn.ModuleList)):
            raise ChoiceError(
                f"{self.label} takes a list or a dict of modules, got {op_candidates!r}."
            )
        if not isinstance(op_candidates, Mapping):
            op_candidates = {str(i): module for i, module in enumerate(op_candidates)}
        for name, module in op_candidates.items():
            self._add(name, module)
        if not self.names:
            raise ChoiceError(
                f"{self.label} has no candidate. Give it a list or a dict of modules."
            )

    @property
    def candidates(self) -> tuple[str, ...]:
        return tuple(self.names)

    @property
    def excluded(self) -> tuple[str, ...]:
        return tuple(n for n in self.names if getattr(self._modules[n], "never_kept", False))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        decision = self.decision()
        whole, rest = args, None
        if self.partial > 1:
            seen, rest = split_channels(args[0] if args else None, self.partial, self.label)
            args = (seen, *args[1:])
        alone = self._reads_alone(decision)
        outputs, names = [], []
        for index in decision.active:
            name = self.names[index]
            candidate = self.get_submodule(name)
            if alone:
                output = candidate(*args, **kwargs)
            elif index in decision.watched:
                with torch.no_grad():
                    output = constant(isolated(candidate, *args, **kwargs))
            else:
                output = isolated(candidate, *args, **kwargs)
            outputs.append(self.weighted(decision.mix, index, output))
            names.append(name)
        out = reduce_chosen(outputs, names, self.reduction, self.key)
        out = self.completed(out, whole, rest)
        return (out, mask_of(decision.active, len(self.names))) if self.return_mask else out

    def completed(self, out: Any, whole: tuple[Any, ...], rest: Tensor | None) -> Any:
        """Returns the mix with what the block does beside mixing.

        Args:
            out: The mix of what the candidates gave.
            whole: The block's own arguments.
            rest: The channels that passed the candidates by; None if they saw all.
        """
        if rest is not None and out is not None:
            out = joined_channels(out, rest, self.partial)
        offset = self.decision().offset
        if offset is not None:
            out = self.shifted(out, offset)
        if self.auxiliary is not None and self.auxiliary_scale:
            extra = self.auxiliary_scale * isolated(self.auxiliary, *whole)
            out = extra if out is None else out + extra
        return out

    def reader(self) -> nn.Module | None:
        decision = self.decision()
        alone = self._reads_alone(decision)
        return self.get_submodule(self.names[decision.active[0]]) if alone else None

    def _reads_alone(self, decision: Decision) -> bool:
        """Says whether one candidate is all that reads the input."""
        return len(decision.active) == 1 and self.partial == 1 and self.auxiliary is None

    def shifted(self, out: Any, offset: Tensor) -> Tensor:
        """Returns the output plus the decision's offset.

        Raises:
            ChoiceError: If the output is no tensor.
        """
        if not isinstance(out, Tensor):
            raise ChoiceError(
                f"{self.label} cannot add the offset of its decision (authors_sum) to a "
                f"{type(out).__name__}. Use reduction='sum'."
            )
        return out + offset

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[nn.Module]:
        return (self.get_submodule(name) for name in self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, index: int | str | slice) -> Any:
        """Returns the candidate of a number or name, or a list of candidates for a slice."""
        if isinstance(index, slice):
            return [self.get_submodule(name) for name in self.names[index]]
        return self.get_submodule(self._name(index))

    def __setitem__(self, index: int | str, module: nn.Module) -> None:
        """Replaces a candidate, or adds one under a new name."""
        self.check_unbound("replace a candidate")
        if isinstance(index, str) and index not in self.names:
            self._add(index, module)
            return
        self._modules[self._name(index)] = self._checked(module)

    def __delitem__(self, index: int | str | slice) -> None:
        self.check_unbound("delete a candidate")
        gone = self.names[index] if isinstance(index, slice) else [self._name(index)]
        if len(gone) == len(self.names):
            raise ChoiceError(f"{self.label} would be left without a candidate.")
        for name in gone:
            del self._modules[name]
            self.names.remove(name)

    def _name(self, index: int | str) -> str:
        if isinstance(index, str) and index in self.names:
            return index
        if isinstance(index, int) and -len(self.names) <= index < len(self.names):
            return self.names[index]
        # IndexError and KeyError keep `for` loops and `in` working as on lists and dicts.
        message = f"{self.label} has no candidate {index!r}; it has {self.names}."
        raise KeyError(message) if isinstance(index, str) else IndexError(message)

    def _add(self, name: str, module: nn.Module) -> None:
        if not isinstance(name, str) or not name or "." in name or "/" in name:
            raise ChoiceError(
                f"{self.label}: a candidate's name is a string without '.' and '/', got {name!r}."
            )
        if hasattr(self, name):
            raise ChoiceError(
                f"{self.label}: the candidate name '{name}' is reserved, because "
                "torch modules have an attribute of that name. Choose another."
            )
        self.add_module(name, self._checked(module))
        self.names.append(name)

    def _checked(self, module: nn.Module) -> nn.Module:
        if not isinstance(module, nn.Module):
            raise ChoiceError(f"{self.label}: every candidate is a torch module, got {module!r}.")
        return module


def constant(output: Any) -> Any:
    """Returns a tensor without its graph: an identity hands on its input's even under no_grad."""
    return output.detach() if isinstance(output, Tensor) else output
