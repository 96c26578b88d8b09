"""DrNAS's progressive search: more channels and fewer candidates from stage to stage."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import Unpack

from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.errors import OptionError
from nas_plugin.mutators._differentiable import DifferentiableMutator
from nas_plugin.operations.widen import Widened, repeated, widen
from nas_plugin.space.narrow import narrowed
from nas_plugin.trainers.metrics import Metrics
from nas_plugin.trainers.objective import Loss
from nas_plugin.trainers.options import BilevelOptions
from nas_plugin.trainers.search_trainer import MutatorLike
from nas_plugin.trainers.staged import Made, StagedTrainer, remove_candidates

#: Keeps the draws of repeated channels apart from other draws of the same seed.
_APART = 3_000_017


class ProgressiveTrainer(StagedTrainer):
    """Searches with partial channels in stages: candidates see more of them, and grow fewer.

    Between two stages the weakest candidates are removed, the others get more channels, which
    repeat trained ones (`nas_plugin.operations.widen`), and everything goes on: weights, logits,
    the state of both optimizers, the schedule of the learning rate.

    Args:
        builder: Makes the network: ``builder(partial=k)``, such as
            ``functools.partial(nasbench201, affine=False)``.
        loss: ``(output, target) -> scalar``.
        metrics: ``(output, target) -> {name: number}``.
        optimizer: A function from parameters to the optimizer of the weights.
        num_epochs: Epochs of each stage.
        dataset_train: Split into the halves, or a pair (for weights, for logits).
        dataset_valid: The held-out set that neither sees.
        partial: For each stage, k: candidates see one in k channels.
        keep: For each stage after the first, candidates that every choice holds.
        scheduler: A function from the optimizer to the schedule of its learning rate over all
            epochs of all stages; None for a constant one.
        mutator: Another differentiable mutator in place of ``drnas``, by name, class or factory.
        **options: As `BilevelTrainer` takes them; ``warmup_epochs`` is a fifth of a stage by
            default.

    Raises:
        OptionError: If an argument is not allowed, or a candidate cannot be widened.
        SpaceError: If the builder takes no partial channels.

    References:
        Chen et al. 2021, section 3.3, https://arxiv.org/abs/2006.10355
    """

    def __init__(
        self,
        builder: Callable[..., nn.Module],
        loss: Loss,
        metrics: Metrics,
        optimizer: Callable[[list[nn.Parameter]], Optimizer],
        num_epochs: int,
        dataset_train: Any,
        dataset_valid: Any,
        *,
        partial: Sequence[int] = (4, 2),
        keep: Sequence[int] = (3,),
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        mutator: MutatorLike = "drnas",
        **options: Unpack[BilevelOptions],
    ) -> None:
        if len(keep) != len(partial) - 1 or min([*keep, 1]) < 1:
            raise OptionError(
                "partial has a number for each stage and keep one for each after the first, from "
                f"1; got {list(partial)} and {list(keep)}."
            )
        if any(late > early for early, late in itertools.pairwise(partial)):
            raise OptionError(f"Channels grow from stage to stage, so partial={partial} must fall.")
        self.builder, self.loss, self.partial = builder, loss, list(partial)
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        if options.get("warmup_epochs") is None:
            options["warmup_epochs"] = num_epochs // 5
        super().__init__(
            len(partial), keep, metrics, num_epochs, dataset_train, dataset_valid,
            mutator=mutator, **options,
        )  # fmt: skip

    def make(self, stage: int) -> Made:
        model = narrowed(self.builder, self.partial[stage])()
        remove_candidates(model, self.kept)
        optimizer = self.make_optimizer(list(model.parameters()))
        scheduler = None if self.make_scheduler is None else self.make_scheduler(optimizer)
        return Made(model, self.loss, optimizer, scheduler)

    def progress(self, epoch: int) -> float:
        """Returns the finished part of the whole search; schedules continue across stages."""
        return epoch / max(1, self.num_epochs - 1)

    def carry(self, before: Mapping[str, Any]) -> None:
        generator = torch.Generator().manual_seed(self.seed + _APART + self.stage)
        pairs = widened_model(before["model"], self.model, generator)
        carry_optimizer(before["optimizer"], self.optimizer, pairs)
        if self.scheduler is not None:
            self.scheduler.load_state_dict(before["scheduler"].state_dict())
        self.carry_logits(before["mutator"], before["arch_optimizer"])
        self.precision.load_state_dict(before["precision"].state_dict())
        self.ranks.start_alike(self.model)

    @torch.no_grad()
    def carry_logits(self, old: DifferentiableMutator, optimizer: Optimizer) -> None:
        """Takes over the logits of what is left, what their optimizer holds, and the generator."""
        new = self.mutator
        assert isinstance(new, DifferentiableMutator)
        new.generator.set_state(old.generator.get_state())
        columns = {
            key: [list(old.space[key].candidates).index(c) for c in new.space[key].candidates]
            for key in new.rows
        }

        def picked(table: Tensor) -> Tensor:
            found = torch.zeros_like(new.alphas)
            for row, key in enumerate(new.rows):
                values = table[old.rows.index(key), columns[key]]
                found[row, : len(values)] = values
            return found

        _take(new.alphas, old.alphas, self.arch_optimizer, optimizer, picked)
        if new.betas is not None and old.betas is not None:
            _take(new.betas, old.betas, self.arch_optimizer, optimizer, lambda table: table)


def _take(
    new: nn.Parameter,
    old: nn.Parameter,
    optimizer: Optimizer,
    before: Optimizer,
    picked: Callable[[Tensor], Tensor],
) -> None:
    """Copies a parameter and the state of its optimizer, all through `picked`."""
    new.copy_(picked(old))
    optimizer.state[new] = {
        name: picked(value) if torch.is_tensor(value) and value.shape == old.shape else value
        for name, value in before.state.get(old, {}).items()
    }


@torch.no_grad()
def widened_model(old: nn.Module, new: nn.Module, generator: torch.Generator) -> list[Widened]:
    """Gives a network with wider candidates, and fewer of them, the weights of another.

    Args:
        old: The trained one.
        new: Made alike; choices may lack candidates of the old one.
        generator: Draws which channels are repeated.

    Raises:
        OptionError: If a candidate cannot be widened.
    """
    pairs: list[Widened] = []
    inside: set[str] = set()
    olds = {place.path: place.block for place in keyed_blocks(old)}
    for place in keyed_blocks(new):
        block, before = place.block, olds[place.path]
        if not isinstance(block, LayerChoice) or not isinstance(before, LayerChoice):
            continue
        for name in block.names:
            prefix = f"{place.path}.{name}." if place.path else f"{name}."
            inside.update(n for n, _ in new.named_parameters() if n.startswith(prefix))
            inside.update(n for n, _ in new.named_buffers() if n.startswith(prefix))
            narrow, wide = before[name], block[name]
            inputs = _inputs(narrow, wide, generator)
            pairs += widen(narrow, wide, inputs, generator)[0]
    source = {**dict(old.named_parameters()), **dict(old.named_buffers())}
    for name, buffer in new.named_buffers():
        if name not in inside:
            buffer.copy_(source[name])
    for name, param in new.named_parameters():
        if name not in inside:
            param.copy_(source[name])
            pairs.append(Widened(old.get_parameter(name), param, None, None))
    return pairs


def _inputs(old: nn.Module, new: nn.Module, generator: torch.Generator) -> Tensor:
    """Returns which channels a candidate's first weights read twice."""
    for narrow, wide in zip(old.modules(), new.modules(), strict=True):
        sizes = [
            getattr(m, "in_channels", getattr(m, "num_features", None)) for m in (narrow, wide)
        ]
        if sizes[0] is not None and sizes[1] is not None:
            return repeated(sizes[0], sizes[1], generator)
    return torch.arange(0)


def carry_optimizer(before: Optimizer, after: Optimizer, pairs: Sequence[Widened]) -> None:
    """Gives an optimizer the state and the settings of another.

    Args:
        before: Optimizer of the narrow network.
        after: Optimizer of the wide one, whose groups are made alike.
        pairs: Which parameter was made of which.
    """
    for old_group, new_group in zip(before.param_groups, after.param_groups, strict=True):
        new_group.update({k: v for k, v in old_group.items() if k != "params"})
    for pair in pairs:
        state = before.state.get(pair.old)
        if state:
            after.state[pair.new] = {
                name: pair.gathered(value).clone()
                if torch.is_tensor(value) and value.shape == pair.old.shape
                else value
                for name, value in state.items()
            }
