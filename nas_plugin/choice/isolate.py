"""Modules that read one input do not see what the others write into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from nas_plugin.choice.block import ChoiceBlock
from nas_plugin.errors import ChoiceError

#: Module → training mode → whether it writes into its input. A cache: it decides who gets a copy,
#: never a result, and neither copies nor pickles of a module hold any of it.
_writes: MutableMapping[nn.Module, dict[bool, bool]] = WeakKeyDictionary()


def isolated(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Returns ``module(*args, **kwargs)`` and leaves the arguments' tensors as they were.

    The first run in each mode (training, evaluation) is on a copy and shows whether the module
    writes; later only modules that do are given one. What holds choice blocks always is, since
    another path may write. Every place that runs several modules on one input calls this,
    executors for what they do not serve included.

    Args:
        module: For a choice block of which several candidates run, nothing is copied here: the
            block isolates them itself.
        *args: Tensors in lists, tuples and dicts are found; those in other objects are not.
        **kwargs: As `args`.

    Raises:
        ChoiceError: If a module writes that did not before: it was edited, or depends on its data.
            It is given a copy from then on.
    """
    reader = module
    while isinstance(reader, ChoiceBlock):
        inner = reader.reader()
        if inner is None:
            return module(*args, **kwargs)
        if inner is reader:
            break
        reader = inner
    if torch.compiler.is_compiling():  # the compiler removes copies that are not needed
        return module(*copied(args), **copied(kwargs))
    modes = _writes.get(reader)
    writes = None if modes is None else modes.get(reader.training)
    if modes is None or writes is None:
        return _probed(module, reader, args, kwargs)
    if writes:
        return module(*copied(args), **copied(kwargs))
    before = _versions(args, kwargs)
    out = module(*args, **kwargs)
    if _versions(args, kwargs) != before:
        modes[reader.training] = True
        raise ChoiceError(
            f"A {type(reader).__name__} overwrote its input, which other modules read too, though "
            "it did not when it first ran: it was edited since, or writes only for some inputs. "
            "It is given a copy from now on: repeat the step, or make the operation not in-place."
        )
    return out


def forget_writes(model: nn.Module) -> None:
    """Lets every module of `model` be probed anew; called where a model may have been edited."""
    if _writes:
        for module in model.modules():
            _writes.pop(module, None)


def found_writes(model: nn.Module) -> dict[str, dict[str, bool]]:
    """Returns what the first runs have shown, by module and training mode, for a checkpoint.

    A module's first run is on a copy, which gradients pass in another order: a resumed run that
    began to probe anew would not be bit-identical.
    """
    return {
        name: {str(training): writes for training, writes in _writes[module].items()}
        for name, module in model.named_modules()
        if module in _writes
    }


def recall_writes(model: nn.Module, found: Mapping[str, Mapping[str, bool]]) -> None:
    """Restores what `found_writes` returned."""
    for name, module in model.named_modules():
        if name in found:
            _writes[module] = {mode == "True": writes for mode, writes in found[name].items()}


def copied(value: Any) -> Any:
    """Returns `value` with every tensor in it cloned; gradients pass."""
    if isinstance(value, Tensor):
        if torch.is_inference_mode_enabled():
            # A clone made here would have no version counter.
            with torch.inference_mode(False), torch.no_grad():
                return value.clone()
        return value.clone()
    if isinstance(value, tuple):
        items = [copied(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, list):
        return [copied(item) for item in value]
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    return value


def _probed(
    module: nn.Module, reader: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    modes = _writes.setdefault(reader, {})
    args_copy, kwargs_copy = copied(args), copied(kwargs)
    copies = [*_tensors(args_copy), *_tensors(kwargs_copy)]
    before = [copy._version for copy in copies]
    out = module(*args_copy, **kwargs_copy)
    given = [*_tensors(args), *_tensors(kwargs)]
    modes[reader.training] = (
        any(isinstance(inner, ChoiceBlock) for inner in reader.modules())
        or [copy._version for copy in copies] != before
        or not all(map(_same, copies, given))
    )
    return out


def _same(copy: Tensor, given: Tensor) -> bool:
    plain = type(given) in (Tensor, nn.Parameter) and not given.is_meta
    return not plain or torch.equal(copy, given)  # writes to `x.data` are not counted


def _versions(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    if len(args) == 1 and not kwargs and type(args[0]) is Tensor:  # the usual case, for speed
        return [] if args[0].is_inference() else [args[0]._version]
    tensors = [*_tensors(args), *_tensors(kwargs)]
    return [tensor._version for tensor in tensors if not tensor.is_inference()]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
