"""ENAS: weights on sampled paths, then the controller by REINFORCE, in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam
from typing_extensions import Unpack

from nas_plugin.data.loader import Batch
from nas_plugin.directions import Mode
from nas_plugin.errors import OptionError, TrainingError
from nas_plugin.mutators import EnasMutator
from nas_plugin.mutators.mutator import PATHS, POLICY
from nas_plugin.operations.batch_norm import batch_statistics
from nas_plugin.trainers._cycle import cycled
from nas_plugin.trainers.gradients import gradients_of, summed
from nas_plugin.trainers.metrics import Metrics, accuracy
from nas_plugin.trainers.objective import Loss, Values, add_share
from nas_plugin.trainers.options import ModelLike, OptimizerLike, SearchOptions
from nas_plugin.trainers.parts import Search
from nas_plugin.trainers.regularizers import ExpectedCost
from nas_plugin.trainers.search_trainer import MutatorLike
from nas_plugin.trainers.single_path import SinglePathTrainer

Reward = Callable[[Any, Any], Tensor | float]


def reward_accuracy(output: Tensor, target: Tensor) -> Tensor | float:
    """Returns the fraction of a batch that is classified rightly."""
    return accuracy(output, target)["accuracy"]


class EnasTrainer(SinglePathTrainer):
    """Each epoch steps the weights on sampled paths, then the controller on held-out batches.

    A controller step samples `mutator_steps_aggregate` architectures, each rewarded on a batch of
    its own, and descends the mean of ``-log p(a) (R - b) + skip_weight * skip penalty``, where
    ``R = reward + entropy_weight * entropy - costs`` and the baseline
    ``b <- decay b + (1 - decay) R`` is moved before it is subtracted, as the authors do. Rewards
    are measured in evaluation mode with the batch's own batch-norm statistics.

    Args:
        model: The supernet, or a function that makes it.
        loss: ``(output, target) -> scalar``.
        metrics: ``(output, target) -> {name: number}``.
        reward_function: ``(output, target) -> number``; larger is better.
        optimizer: Steps the weights; or a function from parameters to an optimizer.
        num_epochs: Epochs in all.
        dataset_train: Split 90 to 10 into what trains the weights and what rewards; or a pair.
        dataset_valid: The held-out set that neither sees.
        mutator: An `EnasMutator`, or how to make one.
        entropy_weight: Weight of the entropy in the reward.
        skip_weight: Weight of the skip penalty.
        baseline_decay: Decay of the moving average of rewards.
        child_steps: Weight steps an epoch; None passes once over the weights' part.
        arch_learning_rate: Learning rate of the controller's Adam, betas (0, 0.999), eps 1e-3; the
            authors' macro search.
        mutator_steps: Controller steps an epoch.
        mutator_steps_aggregate: Architectures a controller step.
        aux_weight: Factor of the loss of an auxiliary head; the model then returns the pair
            ``(output, auxiliary output)`` while it trains.
        split: The weights' part.
        samples: Architectures of which `export` returns the best by validation.
        monitor: The metric by which it is the best, or ``loss``.
        mode: ``max`` or ``min``: whether more or less of it is better; None for known names.
        costs: Terms that are taken off the reward of the architecture that was sampled.
        **options: As `SearchTrainer` and `Trainer` take them.

    Attributes:
        baseline: The moving average of rewards.

    Raises:
        OptionError: If an argument is not allowed.

    References:
        Pham et al. 2018, https://arxiv.org/abs/1802.03268
    """

    needs = frozenset({PATHS, POLICY})
    mutator: EnasMutator

    def __init__(
        self,
        model: ModelLike,
        loss: Loss,
        metrics: Metrics,
        reward_function: Reward,
        optimizer: OptimizerLike,
        num_epochs: int,
        dataset_train: Any,
        dataset_valid: Any,
        *,
        mutator: MutatorLike | None = None,
        entropy_weight: float = 1e-4,
        skip_weight: float = 0.8,
        baseline_decay: float = 0.99,
        child_steps: int | None = None,
        arch_learning_rate: float = 1e-3,
        mutator_steps: int = 50,
        mutator_steps_aggregate: int = 20,
        aux_weight: float = 0.4,
        split: float = 0.9,
        samples: int = 10,
        monitor: str = "accuracy",
        mode: Mode | None = None,
        costs: Sequence[ExpectedCost] = (),
        **options: Unpack[SearchOptions],
    ) -> None:
        super().__init__(
            model, loss, metrics, optimizer, num_epochs, dataset_train, dataset_valid,
            mutator=mutator or "enas", split=split, samples=samples, monitor=monitor, mode=mode,
            **options,
        )  # fmt: skip
        if not 0 <= baseline_decay < 1 or min(entropy_weight, skip_weight, aux_weight) < 0:
            raise OptionError(
                "baseline_decay must be in [0, 1) and the factors must not be negative, got "
                f"{baseline_decay}, {entropy_weight}, {skip_weight}, {aux_weight}."
            )
        if min(mutator_steps, mutator_steps_aggregate) < 1 or (child_steps or 1) < 1:
            raise OptionError(
                "child_steps, mutator_steps and mutator_steps_aggregate must be positive, got "
                f"{child_steps}, {mutator_steps}, {mutator_steps_aggregate}."
            )
        self.costs = list(costs)
        for cost in self.costs:
            cost.join(Search(self.model, self.mutator, self.ranks, self.seed))
        self.reward_function = reward_function
        self.entropy_weight, self.skip_weight = entropy_weight, skip_weight
        self.baseline_decay, self.objective.aux_weight = baseline_decay, aux_weight
        self.child_steps = child_steps or len(self.train_loader)
        self.mutator_steps, self.aggregate = mutator_steps, mutator_steps_aggregate
        self.arch_optimizer = Adam(self.alphas, lr=arch_learning_rate, betas=(0.0, 0.999), eps=1e-3)
        self.baseline = 0.0
        _, rewarding = self.split(dataset_train, split)
        self.reward_loader = self.loaders.held_out(*rewarding, shuffle=True, part=1)
        self.require_batches(rewards=(rewarding, self.reward_loader))

    @property
    def steps_per_epoch(self) -> int:
        return self.child_steps + self.mutator_steps

    def batches(self, epoch: int, start: int) -> Iterator[tuple[str, Any]]:
        weights = cycled(self.train_loader, epoch * self.child_steps + min(start, self.child_steps))
        for _ in range(start, self.child_steps):
            yield "child", next(weights)
        done = max(0, start - self.child_steps)
        rewards = cycled(self.reward_loader, (epoch * self.mutator_steps + done) * self.aggregate)
        for _ in range(done, self.mutator_steps):
            yield "controller", [next(rewards) for _ in range(self.aggregate)]

    def train_step(self, batch: tuple[str, Any]) -> Values:
        kind, given = batch
        return self.weight_step(given) if kind == "child" else self.controller_step(given)

    def controller_step(self, batches: Sequence[Batch]) -> Values:
        """Steps the controller on one sampled architecture a batch."""
        totals: list[Tensor | None] = [None] * len(self.alphas)
        means: Values = {}
        for batch in batches:
            objective, values = self.reinforce(batch)
            totals = summed(totals, gradients_of(objective / len(batches), self.alphas))
            add_share(means, values, 1 / len(batches))
        for param, grad in zip(self.alphas, totals, strict=True):
            param.grad = grad
        self.arch_optimizer.step()
        self.arch_optimizer.zero_grad()
        return {**means, "baseline": self.baseline}

    def reinforce(self, batch: Batch) -> tuple[Tensor, Values]:
        """Samples an architecture and returns what the controller descends, and its parts."""
        self.mutator.reset()
        written = self.mutator.written
        if written is None:
            raise OptionError("The controller wrote nothing; use reset() of EnasMutator.")
        reward = self.reward(batch)
        entropy = written.entropy.detach()
        total = reward + self.entropy_weight * entropy.double().cpu()
        total = total - sum(cost.of(written.architecture) for cost in self.costs)
        decay = self.baseline_decay
        self.baseline = decay * self.baseline + (1 - decay) * float(total)
        advantage = float(total) - self.baseline
        objective = -written.log_prob * advantage + self.skip_weight * written.skip_penalty
        skip = written.skip_penalty.detach()
        return objective, {"reward": reward, "entropy": entropy, "skip_penalty": skip}

    @torch.no_grad()
    def reward(self, batch: Batch) -> Tensor:
        """Returns the reward of the architecture that was sampled, the mean over the ranks."""
        training = self.model.training
        self.model.eval()
        inputs, targets = batch
        with batch_statistics(self.model), self.precision.autocast():
            value = self.reward_function(self.objective.forward(inputs), targets)
        self.model.train(training)
        reward = torch.as_tensor(value, dtype=torch.float64, device=self.device).detach().clone()
        if reward.numel() != 1:
            raise OptionError(
                f"reward_function returned the shape {tuple(reward.shape)}; a reward is one number "
                "per batch. Return its mean."
            )
        self.ranks.average([reward])
        if not bool(torch.isfinite(reward)):
            raise TrainingError(
                f"The reward is {float(reward)} at step {self.step} (epoch {self.epoch}), and the "
                "controller would learn it. Check reward_function; the last checkpoint is kept."
            )
        return reward.reshape(()).cpu()

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "arch_optimizer": self.arch_optimizer.state_dict(),
            "baseline": self.baseline,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.arch_optimizer.load_state_dict(state["arch_optimizer"])
        self.baseline = state["baseline"]
        super().load_state_dict(state)
