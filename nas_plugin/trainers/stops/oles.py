"""OLES: the weights of a candidate are frozen once they fit their own half of the data alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.errors import OptionError
from nas_plugin.operations.batch_norm import kept_statistics
from nas_plugin.trainers.bilevel import BilevelTrainer
from nas_plugin.trainers.callbacks import Callback
from nas_plugin.trainers.stops.stop import stops


@stops.register("operations")
class OperationStop(Callback):
    """Freezes the weights of each candidate whose gradients on both halves disagree.

    After a step two gradients of a candidate's weights are compared: that of the step (of the
    training batch, clipped), and that of the step's held-out batch. Their agreement is
    ``cosine_similarity(dim=0)``, averaged over a parameter and over the candidate's parameters.
    Where its mean over `steps` comparisons is below `threshold`, the candidate's weights are
    frozen for the rest of the search; its logit still trains. Every candidate of every block is
    judged by itself.

    A search computes no gradient of weights on a held-out batch, so each comparison costs one
    more forward and backward pass; `every` compares less often.

    Args:
        threshold: Below it a candidate is frozen.
        steps: Comparisons of one mean.
        every: Steps of the search from one comparison to the next.

    Attributes:
        frozen: Paths of the candidates that are frozen, in order.

    Raises:
        OptionError: If an argument is not allowed, or the trainer has no held-out batches.

    References:
        Jiang et al. 2023, Operation-Level Early Stopping for Robustifying Differentiable NAS
    """

    trainer: BilevelTrainer

    def __init__(self, *, threshold: float = 0.4, steps: int = 20, every: int = 1) -> None:
        if not -1 <= threshold <= 1:
            raise OptionError(f"threshold is a cosine, in [-1, 1]; got {threshold}.")
        if steps < 1 or every < 1:
            raise OptionError(f"steps and every must be at least 1, got {steps} and {every}.")
        self.threshold, self.steps, self.every = threshold, steps, every
        self.frozen: list[str] = []
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._of_step: dict[int, Tensor] = {}
        self._hook: RemovableHandle | None = None

    def build(self, trainer: Any) -> None:
        if not isinstance(trainer, BilevelTrainer):
            raise OptionError(
                "OperationStop compares gradients on the weights' and the logits' batch of a "
                f"step, which {type(trainer).__name__} does not have. Use BilevelTrainer."
            )
        super().build(trainer)
        trained = {id(w) for w in trainer.weights}
        self._candidates: dict[str, list[nn.Parameter]] = {}
        for place in keyed_blocks(trainer.model):
            if isinstance(place.block, LayerChoice):
                for name in place.block.names:
                    module = place.block.get_submodule(name)
                    params = [p for p in module.parameters() if id(p) in trained]
                    if params:
                        path = f"{place.path}.{name}" if place.path else name
                        self._candidates[path] = params
        if not self._candidates:
            raise OptionError("OperationStop freezes candidates' weights, and none has any.")

    def on_rebuild(self) -> None:
        self.frozen, self._sums, self._counts = [], {}, {}
        self.build(self.trainer)
        if self._hook is not None:
            self._hook.remove()
            self.on_train_begin()

    def on_train_begin(self) -> None:
        self._hook = self.trainer.optimizer.register_step_pre_hook(self._keep)

    def on_train_end(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._of_step.clear()

    def on_batch_end(self) -> None:
        if self.trainer.step % self.every == 0 and len(self.frozen) < len(self._candidates):
            self.compare(self.trainer.given[1])
        self._of_step.clear()

    def compare(self, held_out: Any) -> None:
        """Compares with the gradients of a held-out batch, and freezes what disagrees."""
        trainer = self.trainer
        open_paths = [path for path in self._candidates if path not in self.frozen]
        params = [p for path in open_paths for p in self._candidates[path]]
        with trainer.aside(), kept_statistics(trainer.model):
            grads, _ = trainer.gradients(held_out, params, held_out=True)
        other = {id(p): g for p, g in zip(params, grads, strict=True) if g is not None}
        for path in open_paths:
            agreement = self._agreement(self._candidates[path], other)
            if agreement is None:
                continue
            self._sums[path] = self._sums.get(path, 0.0) + agreement
            self._counts[path] = self._counts.get(path, 0) + 1
            if self._counts[path] == self.steps:
                mean = self._sums.pop(path) / self._counts.pop(path)
                if mean < self.threshold:
                    self._freeze(path)
                    trainer.record("frozen", {"candidate": path, "agreement": mean})

    def _agreement(
        self, params: Sequence[nn.Parameter], other: Mapping[int, Tensor]
    ) -> float | None:
        """Returns the mean over the parameters that have both gradients; None if none has."""
        pairs = [
            (self._of_step[id(p)], other[id(p)])
            for p in params
            if id(p) in self._of_step and id(p) in other
        ]
        if not pairs:
            return None
        each = [torch.cosine_similarity(a, b, dim=0).mean() for a, b in pairs]
        return float(torch.stack(each).mean())

    def _freeze(self, path: str) -> None:
        self.frozen.append(path)
        for param in self._candidates[path]:
            param.requires_grad_(False)

    def _keep(self, *_: Any) -> None:
        """Copies the gradients of a step: averaged over the ranks, unscaled and clipped."""
        if (self.trainer.step + 1) % self.every:
            return
        for params in self._candidates.values():
            for param in params:
                if param.grad is not None:
                    self._of_step[id(param)] = param.grad.detach().clone()

    def state_dict(self) -> dict[str, Any]:
        return {"frozen": self.frozen, "sums": self._sums, "counts": self._counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
        self.frozen = []
        for path in state["frozen"]:
            self._freeze(path)
