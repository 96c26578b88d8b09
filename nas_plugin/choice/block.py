"""What all choice blocks share: a key, a binding to decisions, copies that are unbound."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nas_plugin.choice.decision import Decides, Decision
from nas_plugin.errors import ChoiceError

Reduction = Literal["sum", "mean", "concat", "none"]
REDUCTIONS: tuple[Reduction, ...] = ("sum", "mean", "concat", "none")

# Only the order matters: files of NNI 1.x number blocks in the order of their construction.
_serials = itertools.count()


class Mutable(nn.Module):
    """A module with a key.

    Args:
        key: Blocks with equal keys share one decision; the module's path if None.
    """

    def __init__(self, key: str | None = None) -> None:
        super().__init__()
        if key is not None and (not isinstance(key, str) or not key):
            raise ChoiceError(f"A key is a string that is not empty, got {key!r}.")
        self.given_key = key
        self.serial = next(_serials)


class ChoiceBlock(Mutable):
    """A place where a model may vary.

    A subclass names its `kind`, its `candidates` and in `forward` does what its decision says.
    """

    kind: Literal["layer", "input", "repeat"]

    def __init__(self, key: str | None = None) -> None:
        super().__init__(key)
        self._binding: Decides | None = None
        self._bound_key: str | None = None

    @property
    def candidates(self) -> tuple[str | int, ...]:
        """The names, or indices or depths, of the K candidates."""
        raise NotImplementedError

    @property
    def n_chosen(self) -> int | None:
        """How many candidates an architecture holds; None is any number."""
        return 1

    @property
    def excluded(self) -> tuple[str, ...]:
        """Candidates that a search may mix but no architecture may hold."""
        return ()

    @property
    def key(self) -> str | None:
        """The key under which decisions are made; None while it is not known."""
        return self.given_key if self._bound_key is None else self._bound_key

    @property
    def label(self) -> str:
        """What errors call the block."""
        kind = type(self).__name__
        return kind if self.key is None else f"{kind} '{self.key}'"

    @property
    def binding(self) -> Decides | None:
        """What decides this block; None before a mutator is made."""
        return self._binding

    def bind(self, binding: Decides | None, key: str | None) -> None:
        """Ties the block to `binding` under `key`, or frees it with None."""
        self._binding, self._bound_key = binding, key

    def decision(self) -> Decision:
        """Returns this step's decision.

        Raises:
            ChoiceError: If nothing decides the block.
        """
        if self._binding is None or self._bound_key is None:
            raise ChoiceError(
                f"The {self.label} ran, but nothing decides it. Make a mutator or a trainer for "
                "the model, or fix an architecture with apply_fixed_architecture()."
            )
        try:
            return self._binding.decisions[self._bound_key]
        except KeyError:
            raise ChoiceError(
                f"The {self.label} ran before its mutator decided. "
                "Call mutator.reset() before the forward pass."
            ) from None

    def chosen_for(self, child: str) -> tuple[str | int, ...]:
        """Returns the candidates of which one must be chosen for a child module to run."""
        return (child,)

    def reader(self) -> nn.Module | None:
        """Returns what reads the block's input as it is; None where all that do read copies.

        `isolated` asks, to know whose writes would reach the block's own input.
        """
        return self

    def check_unbound(self, action: str) -> None:
        """Raises ChoiceError if a mutator counts on the block as it is."""
        if self._binding is not None:
            raise ChoiceError(
                f"Cannot {action} of the {self.label}: "
                f"{self._binding.owner} decides it. Edit the model before making a mutator, or "
                "call mutator.unbind(model) first."
            )

    def weighted(self, mix: Tensor | None, index: int, output: Any) -> Any:
        """Returns a candidate's output times its coefficient; as it is where there is no mix.

        Raises:
            ChoiceError: If something else than a tensor is to be mixed.
        """
        if mix is None:
            return output
        if not isinstance(output, Tensor):
            raise ChoiceError(
                f"{self.label} mixes tensors, but '{self.candidates[index]}' gives a "
                f"{type(output).__name__}. Wrap it so that it gives one tensor, or search single "
                "paths."
            )
        return mix[index] * output

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_binding": None, "_bound_key": None}


def check_reduction(reduction: str) -> Reduction:
    """Returns `reduction`, or raises ChoiceError if there is no such one."""
    for known in REDUCTIONS:
        if reduction == known:
            return known
    raise ChoiceError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}.")


def reduce_chosen(
    outputs: Sequence[Tensor], names: Sequence[str | int], reduction: Reduction, key: str | None
) -> Tensor | list[Tensor] | None:
    """Joins the outputs of the chosen candidates: None if there is none, the output if one.

    Raises:
        ChoiceError: If outputs of different shapes are to be summed or averaged.
    """
    if reduction == "none":
        return apart(outputs)
    if not outputs:
        return None
    if len(outputs) == 1:
        return outputs[0]
    if reduction == "concat":
        return torch.cat(list(outputs), dim=1)
    total = outputs[0]
    for name, output in zip(names[1:], outputs[1:], strict=True):
        if output.shape != total.shape:
            raise ChoiceError(
                f"Choice block '{key}' mixes outputs of different shapes: '{names[0]}' gives "
                f"{tuple(total.shape)}, '{name}' gives {tuple(output.shape)}. Give every candidate "
                "the same output shape, or use reduction='none' or 'concat'."
            )
        total = total + output
    return total / len(outputs) if reduction == "mean" else total


def apart(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Returns the outputs, cloned where one is another before it, or both are views of one tensor.

    Of two identity candidates both outputs are their input: adding to one in place would add to
    the other.
    """
    separate: list[Tensor] = []
    for i, out in enumerate(outputs):
        separate.append(out.clone() if is_one_of(out, outputs[:i]) else out)
    return separate


def is_one_of(tensor: Any, others: Sequence[Any]) -> bool:
    """Says whether a write into `tensor` would be a write into one of `others`."""
    if not isinstance(tensor, Tensor):
        return False
    root = _root(tensor)
    return any(isinstance(other, Tensor) and _root(other) is root for other in others)


def _root(tensor: Tensor) -> Tensor:
    base = None if tensor.is_inference() else tensor._base
    return tensor if base is None else base


def mask_of(active: Sequence[int], n_candidates: int) -> Tensor:
    """Returns which candidates are active, ``(K,)`` bool."""
    mask = torch.zeros(n_candidates, dtype=torch.bool)
    mask[list(active)] = True
    return mask
