"""Several processes of one search, as torchrun starts them."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nas_plugin.runtime.heartbeat import Heartbeat

if dist.is_available():
    # The defaults of its functions are the group that exists when it is first imported (by the
    # first optimizer that steps). They would keep that group, and gloo's threads, alive after it
    # was destroyed, and such a thread ends the process by SIGABRT while the interpreter closes.
    import torch.distributed.nn


class Ranks:
    """This process among those of torchrun; alone, every operation leaves things as they are.

    Joins the process group that torchrun describes, unless one exists, and leaves it when the
    process ends.

    Attributes:
        rank: This process, 0-based.
        world_size: How many there are.
    """

    def __init__(self, device: torch.device) -> None:
        # Without torch.distributed (some platforms) a search is a single process.
        if (
            dist.is_available()
            and not dist.is_initialized()
            and "TORCHELASTIC_RUN_ID" in os.environ
        ):
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            # Not sooner: the trainers that follow in this process are members too.
            atexit.register(_leave)
            _begin_heartbeat()
        self._joined = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if self._joined else 0
        self.world_size = dist.get_world_size() if self._joined else 1
        self._device = device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replaces every tensor by its mean over the ranks, in place, in one message a type."""
        if self.world_size == 1:
            return
        for group in _by_type(tensors):
            flat = torch.cat([t.reshape(-1) for t in group])
            dist.all_reduce(flat)
            flat /= self.world_size
            _unpack(flat, group)

    def means(self, values: Mapping[str, Tensor | float]) -> dict[str, float]:
        """Returns named numbers, each the mean over the ranks."""
        means = torch.stack([torch.as_tensor(v).detach().double().cpu() for v in values.values()])
        if self.world_size > 1:
            on_device = means.to(self._device)
            self.average([on_device])
            means = on_device.cpu()
        return dict(zip(values, means.tolist(), strict=True))

    def note_step(self, step: int, seconds: float) -> None:
        """Notes a step that took `seconds`: how long a rank may be silent follows from it."""
        if _heartbeats:
            _heartbeats[0].note(step, seconds)

    def set_timeout(self, seconds: float | None) -> None:
        """Sets how long a rank may be silent; None measures it (see `Heartbeat`)."""
        if _heartbeats:
            _heartbeats[0].limit = seconds

    def gather(self, values: Mapping[str, Tensor | float]) -> list[dict[str, Tensor]]:
        """Returns the named numbers of every rank, in float64 on the CPU."""
        own = [torch.as_tensor(v).detach().double().cpu() for v in values.values()]
        if self.world_size == 1 or not own:
            return [dict(zip(values, own, strict=True))] * self.world_size
        flat = torch.stack(own).to(self._device)
        all_of_them = [torch.empty_like(flat) for _ in range(self.world_size)]
        dist.all_gather(all_of_them, flat)
        return [dict(zip(values, found.cpu().unbind(), strict=True)) for found in all_of_them]

    @torch.no_grad()
    def copy_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Replaces every tensor by that of rank 0, in place."""
        if self.world_size == 1:
            return
        for group in _by_type(tensors):
            flat = torch.cat([t.reshape(-1) for t in group])
            dist.broadcast(flat, src=0)
            _unpack(flat, group)

    def start_alike(self, *modules: nn.Module) -> None:
        """Gives all ranks the parameters and buffers of rank 0."""
        for module in modules:
            self.copy_from_first([*module.parameters(), *module.buffers()])

    def any(self, flag: int) -> int:
        """Returns the largest `flag` of all ranks, so that they act together."""
        if self.world_size == 1:
            return flag
        found = torch.tensor(flag, device=self._device)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return int(found)

    def barrier(self) -> None:
        """Waits for all ranks."""
        if self.world_size > 1:
            dist.barrier()


#: That of this process, if torchrun started it.
_heartbeats: list[Heartbeat] = []


def _begin_heartbeat() -> None:
    # A connection of its own: while a collective operation waits on the group's, that one is busy.
    address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    own = dist.TCPStore(*address, is_master=False)  # type: ignore[attr-defined]
    store = dist.PrefixStore(f"attempt {attempt}", own)  # type: ignore[attr-defined]
    _heartbeats.append(Heartbeat(store, dist.get_rank(), dist.get_world_size()))
    _heartbeats[0].start()


def _leave() -> None:
    """Ends the group while the interpreter still runs, so that its threads end too."""
    while _heartbeats:
        _heartbeats.pop().leave()
    if dist.is_initialized():
        dist.destroy_process_group()


def _by_type(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    return list(groups.values())


def _unpack(flat: Tensor, into: Sequence[Tensor]) -> None:
    offset = 0
    for tensor in into:
        tensor.copy_(flat[offset : offset + tensor.numel()].view_as(tensor))
        offset += tensor.numel()
