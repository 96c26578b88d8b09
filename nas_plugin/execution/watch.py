"""Whether modules can be replaced by a formula, and whether they still are what they were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn
from torch.nn.modules import module as torch_module
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.hooks import RemovableHandle

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

#: Of every batch norm: training, tracking, momentum, eps.
NormModes = tuple[tuple[bool, bool, float | None, float], ...]


def refusal(module: nn.Module) -> str | None:
    """Returns why `module` must run itself, whatever it computes; None if it need not.

    A formula in its place would pass by what somebody hung on it.
    """
    if hooked_globally():
        return "hooks are registered for all modules"
    for name, part in module.named_modules():
        reason = hung_on(part)
        if reason is not None:
            return f"{reason} in '{name}'" if name else reason
    return None


def hung_on(module: nn.Module) -> str | None:
    """Returns what hangs on `module` itself, not on its parts."""
    if _hooked(module):
        return "has hooks"
    if is_parametrized(module):
        return "has parametrizations"
    if _patched(module):
        return "has a forward that was patched"
    return None


def norms_in(*modules: nn.Module) -> list[_BatchNorm]:
    """Returns the batch norms inside `modules`, each once."""
    found = {id(part): part for part in _parts(modules) if isinstance(part, _BatchNorm)}
    return list(found.values())


def hooked_globally() -> bool:
    """Says whether a hook is registered that all modules call."""
    return any(getattr(torch_module, f"_global{name}") for name in HOOKS)


class Watch:
    """Notices when modules are no longer what a plan was made for.

    It is asked on every forward pass, so it reads attributes and nothing else.

    Args:
        modules: What the plan depends on; what is inside them is watched too.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        parts = list(_parts(modules))
        self._parts = [(part, type(part), _patched(part)) for part in parts]
        self._children = [
            (part._modules, list(part._modules.values())) for part in parts if part._modules
        ]
        self._norms = norms_in(*modules)
        self._hooks = self._all_hooks()
        self._handles = RemovableHandle.next_id

    def holds(self) -> bool:
        """Says whether the modules have the parts, types and hooks that they had."""
        for part, kind, patched in self._parts:
            if type(part) is not kind or ("forward" in part.__dict__) is not patched:
                return False
        for now, before in self._children:
            if list(now.values()) != before:
                return False
        # Every new hook takes a number; only a removal does not change it.
        if RemovableHandle.next_id != self._handles or any(self._hooks):
            self._handles = RemovableHandle.next_id
            return self._all_hooks() == self._hooks
        return True

    def mode(self) -> NormModes:
        """Returns what the formulas of the batch norms depend on."""
        return tuple(
            (norm.training, norm.track_running_stats, norm.momentum, norm.eps)
            for norm in self._norms
        )

    def _all_hooks(self) -> list[bool]:
        return [hooked_globally(), *(_hooked(part) for part, _, _ in self._parts)]


def _parts(modules: Sequence[nn.Module]) -> Iterator[nn.Module]:
    for module in modules:
        yield from module.modules()


def _hooked(module: nn.Module) -> bool:
    return any(getattr(module, name) for name in HOOKS)


def _patched(module: nn.Module) -> bool:
    return "forward" in module.__dict__
