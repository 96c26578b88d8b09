"""What trainers that search share: a mutator, its gradients, its records, its export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.data import Loader, split_indices
from nas_plugin.data.nested import mapped, sample_count
from nas_plugin.errors import OptionError
from nas_plugin.execution import attach
from nas_plugin.files import write_atomic
from nas_plugin.mutators import Mutator, mutators
from nas_plugin.space.architecture import Architecture
from nas_plugin.trainers.trainer import Trainer, Values

MutatorLike = str | Mutator | type[Mutator] | Callable[[nn.Module], Mutator]
Batch = tuple[Any, Any]
#: A data set and which of its samples; None is all.
Part = tuple[Any, Tensor | None]


class SearchTrainer(Trainer):
    """A trainer whose model is decided by a mutator.

    Args:
        *args: As `Trainer` takes them.
        mutator: Name in the registry, class, factory, or an instance made for `model`.
        execution: ``auto`` runs blocks together where that is faster and equal, ``eager`` not.
        **kwargs: As `Trainer` takes them.

    Raises:
        OptionError: If a parameter belongs to both the mutator and the weight optimizer.
    """

    def __init__(
        self, *args: Any, mutator: MutatorLike, execution: str = "auto", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.mutator = make_mutator(mutator, self.model, self.seed).to(self.device)
        attach(self.mutator.binding, execution)
        self.alphas = [p for p in self.mutator.parameters() if p.requires_grad]
        shared = {id(p) for p in self.alphas} & {id(p) for p in self.weights}
        if shared:
            raise OptionError(
                f"{len(shared)} parameters belong to the mutator and to the weight optimizer. "
                "Make the optimizer of model.parameters() only."
            )
        self.ranks.start_alike(self.mutator)

    def start_epoch(self, epoch: int) -> None:
        self.mutator.start_epoch(epoch / max(1, self.num_epochs - 1))

    def end_epoch(self) -> None:
        self.record("choices", {"probabilities": self.mutator.status()})

    def validate(self) -> dict[str, float]:
        """Returns loss and metrics on the held-out set, with one decision for all batches."""
        with torch.no_grad():
            self.mutator.reset()
        return super().validate()

    def export(self, path: str | Path | None = None) -> Architecture:
        """Returns the best architecture, and writes it to `path` if one is given."""
        architecture = self.mutator.export()
        if path is not None:
            write_atomic(Path(path), architecture.dumps())
        return architecture

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "mutator": self.mutator.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.mutator.load_state_dict(state["mutator"])
        super().load_state_dict(state)

    def split(self, dataset: Any, share: float) -> tuple[Part, Part]:
        """Returns the weights' and the architecture's part of a training set.

        Args:
            dataset: Split by the seed, or a pair (for weights, for the architecture).
            share: The weights' part.

        Raises:
            OptionError: If it is neither.
        """
        if isinstance(dataset, (tuple, list)):
            if len(dataset) != 2:
                raise OptionError(
                    "dataset_train is one data set to split, or the pair (for weights, for the "
                    f"architecture); got {len(dataset)} entries."
                )
            return (dataset[0], None), (dataset[1], None)
        first, second = split_indices(len(dataset), (share, 1 - share), seed=self.seed)
        return (dataset, first), (dataset, second)

    def require_batches(self, **parts: tuple[Part, Loader]) -> None:
        """Checks that every part of the training set gives a batch.

        Raises:
            OptionError: If one does not; it says how many samples each holds.
        """
        if all(len(loader) > 0 for _, loader in parts.values()):
            return
        counts = {
            name: len(dataset if indices is None else indices)
            for name, ((dataset, indices), _) in parts.items()
        }
        raise OptionError(
            "The training set is too small: a batch holds "
            f"{self._data['batch_size'] * self.ranks.world_size} samples, the parts hold "
            f"{', '.join(f'{n} ({name})' for name, n in counts.items())}. Lower batch_size or use "
            "more data."
        )

    # Gradients.

    def gradients(
        self,
        batch: Batch,
        wrt: Sequence[nn.Parameter],
        *,
        penalised: bool = False,
    ) -> tuple[list[Tensor | None], Values]:
        """Returns the gradient of the mean loss, averaged over micro-batches and ranks.

        Only what `wrt` needs is computed: without logits in it, decisions carry no gradient;
        without weights, the weights need none.

        Args:
            batch: Inputs and targets.
            wrt: Parameters; those that are frozen or that the loss does not reach get None.
            penalised: Add the mutator's penalty, as in an architecture step.
        """
        totals: list[Tensor | None] = [None] * len(wrt)
        values: Values = {}
        with self._only(wrt) as needs_alphas:
            for part, share in self.decided_parts(batch, needs_alphas):
                loss, metrics = self.loss_of(part)
                objective = loss
                penalty = self.mutator.penalty(self.mutator.binding.decisions)
                if penalised and penalty is not None:
                    objective = objective + penalty
                grads = gradients_of(self.precision.scale(objective * share), wrt)
                totals = [_plus(total, grad) for total, grad in zip(totals, grads, strict=True)]
                for name, value in {"loss": loss, **metrics}.items():
                    values[name] = values.get(name, 0.0) + torch.as_tensor(value).detach() * share
        return self.averaged(totals), values

    def decided_parts(self, batch: Batch, needs_alphas: bool) -> Iterator[tuple[Batch, float]]:
        """Yields micro-batches and their shares, the mutator having decided alike for each.

        Every part gets a graph of its own, but what is drawn at random is drawn once a step, so
        that the parts add up to the whole batch.
        """
        drawn = self.mutator.generator.get_state()
        for part in micro_batches(batch, self.accumulate):
            self.mutator.generator.set_state(drawn)
            with torch.set_grad_enabled(needs_alphas):
                self.mutator.reset()
            yield part

    def averaged(self, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Unscales gradients and averages them over the ranks."""
        known = self.precision.unscale([grad for grad in grads if grad is not None])
        self.ranks.average(known)
        rest = iter(known)
        return [None if grad is None else next(rest) for grad in grads]

    def loss_of(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """Returns loss and metrics of one forward pass under the decisions made."""
        inputs, targets = batch
        with self.precision.autocast():
            output = self.forward(inputs)
            loss = self.loss(output, targets)
        with torch.no_grad():
            return loss, self.metrics(output, targets)

    def weight_step(self, batch: Batch) -> Values:
        """Steps the weights on one batch; logits get no gradient."""
        grads, values = self.gradients(batch, self.weights)
        self.step_optimizer(self.optimizer, self.weights, grads, self.grad_clip)
        self.ranks.copy_from_first(list(self.model.buffers()))
        return values

    def step_optimizer(
        self,
        optimizer: torch.optim.Optimizer,
        params: Sequence[nn.Parameter],
        grads: Sequence[Tensor | None],
        grad_clip: float | None = None,
    ) -> None:
        """Gives gradients to an optimizer and steps it."""
        for param, grad in zip(params, grads, strict=True):
            param.grad = None if grad is None else self.precision.scale(grad)
        self.precision.step(optimizer, list(params), grad_clip)
        for param in params:
            param.grad = None

    @contextmanager
    def _only(self, wrt: Sequence[nn.Parameter]) -> Iterator[bool]:
        """Lets only the kinds of parameters in `wrt` require gradients; yields: logits too?"""
        wanted = {id(p) for p in wrt}
        needs_alphas = any(id(p) in wanted for p in self.alphas)
        frozen: Iterable[nn.Parameter] = ()
        if not any(id(p) in wanted for p in self.weights):
            frozen = [p for p in self.weights if p.requires_grad]
        try:
            for param in frozen:
                param.requires_grad_(False)
            yield needs_alphas
        finally:
            for param in frozen:
                param.requires_grad_(True)


def make_mutator(mutator: MutatorLike, model: nn.Module, seed: int) -> Mutator:
    """Returns the mutator that is meant by a name, a class, a factory or an instance.

    Raises:
        OptionError: If it is none of them, or decides another model.
    """
    if isinstance(mutator, str):
        mutator = mutators.get(mutator)
    if isinstance(mutator, type) and issubclass(mutator, Mutator):
        return mutator(model, seed=seed)
    made: object = mutator
    if callable(mutator) and not isinstance(mutator, (nn.Module, type)):
        made = mutator(model)
    if not isinstance(made, Mutator):
        raise OptionError(f"A mutator is a name, a class, a factory or a Mutator, got {mutator!r}.")
    if any(entry.block.binding is not made.binding for entry in keyed_blocks(model)):
        raise OptionError(
            f"The {type(made).__name__} decides another model than the one to be searched. Make it "
            "of this model, or call mutator.bind(model)."
        )
    return made


def gradients_of(
    loss: Tensor, wrt: Sequence[nn.Parameter], *, create_graph: bool = False
) -> list[Tensor | None]:
    """Returns the gradient of each parameter; None if it is frozen or not reached."""
    wanted = [param for param in wrt if param.requires_grad]
    if not wanted:
        return [None] * len(wrt)
    found = torch.autograd.grad(loss, wanted, create_graph=create_graph, allow_unused=True)
    rest = iter(found)
    return [next(rest) if param.requires_grad else None for param in wrt]


def micro_batches(batch: Batch, parts: int) -> Iterator[tuple[Batch, float]]:
    """Yields parts of a batch, each with its share of the samples."""
    inputs, targets = batch
    if parts == 1:
        yield batch, 1.0
        return
    n = sample_count(targets)
    size = -(-n // parts)
    for start in range(0, n, size):
        rows = slice(start, min(start + size, n))
        part = mapped(inputs, itemgetter(rows)), mapped(targets, itemgetter(rows))
        yield part, (rows.stop - start) / n


def _plus(total: Tensor | None, grad: Tensor | None) -> Tensor | None:
    if total is None or grad is None:
        return grad if total is None else total
    return total + grad
