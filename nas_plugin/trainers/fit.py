"""What a trainer needs of a mutator, and whether the mutator gives it."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor

from nas_plugin.errors import OptionError
from nas_plugin.mutators import Mutator, mutators
from nas_plugin.mutators.mutator import GIFTS, MIXES
from nas_plugin.space.choice import Choice


def fitting(needs: Iterable[str]) -> list[str]:
    """Returns the names of the registered mutators that give all of `needs`."""
    wanted = frozenset(needs)
    return [name for name in mutators if wanted <= mutators.get(name).gives]


def check_fit(mutator: Mutator, needs: Iterable[str], who: str) -> None:
    """Checks that a mutator gives what a trainer needs.

    Args:
        mutator: Its decisions and its own state stay as they are.
        needs: Of `GIFTS`.
        who: The trainer, as errors call it.

    Raises:
        OptionError: If it does not; the message lists the mutators that do.
    """
    wanted = frozenset(needs)
    missing = [name for name in GIFTS if name in wanted - mutator.gives]
    own = type(mutator).__name__
    if missing:
        given = [GIFTS[name] for name in GIFTS if name in mutator.gives]
        raise OptionError(
            f"{who} needs a mutator that gives {' and '.join(GIFTS[name] for name in missing)}; "
            f"{own} gives {' and '.join(given) or 'nothing: a mutator says so by `gives`'}. "
            f"Those that fit: {', '.join(fitting(wanted)) or 'none'}."
        )
    if MIXES in wanted:
        _check_gradient(mutator, who)


def _check_gradient(mutator: Mutator, who: str) -> None:
    """Lets a copy of the mutator decide once, and follows the mixes back to the logits."""
    logits = [p for p in mutator.parameters() if p.requires_grad]
    name = type(mutator).__name__
    if not logits:
        raise OptionError(f"{name} has no logits that {who} could train.")
    twin = copied(mutator)
    with torch.enable_grad():
        twin.reset()
    total: Tensor | None = None
    for key, choice in twin.space.items():
        if twin.space.follows_edges(choice) or not _is_open(choice):
            continue
        mix = twin.binding.decisions[key].mix
        if mix is None or not mix.requires_grad:
            raise OptionError(
                f"{name} decides '{key}' by a mix without a gradient, so {who} would never train "
                "its logits. A hard mix needs a straight-through gradient: return "
                "straight_through(soft) (nas_plugin.mutators) from relax."
            )
        # Coefficients of their own, as the derivative of a sum that is always 1 would vanish.
        weights = torch.arange(1, len(mix) + 1, dtype=mix.dtype, device=mix.device)
        total = (mix * weights).sum() + (0.0 if total is None else total)
    if total is None:
        return
    logits = [p for p in twin.parameters() if p.requires_grad]
    found = torch.autograd.grad(total, logits, allow_unused=True)
    if not any(grad is not None and bool((grad != 0).any()) for grad in found):
        raise OptionError(
            f"The mixes of {name} have no gradient with respect to its logits, so {who} would "
            "never train them. Check that relax does not detach what it returns."
        )


def _is_open(choice: Choice) -> bool:
    """Says whether there is anything to choose."""
    return len(choice.options) > (choice.n_chosen or 0 if choice.kind == "input" else 1)


def copied(mutator: Mutator) -> Mutator:
    """Returns a copy; decisions are left out, as graphs cannot be copied."""
    bindings = (mutator.binding, mutator.final_binding)
    decided = [binding.decisions for binding in bindings]
    try:
        for binding in bindings:
            binding.decisions = {}
        return copy.deepcopy(mutator)
    finally:
        for binding, decisions in zip(bindings, decided, strict=True):
            binding.decisions = decisions
