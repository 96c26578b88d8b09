"""The best of N architectures that are drawn from what a search believes in."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from random import Random

import torch

from nas_plugin.errors import OptionError
from nas_plugin.operations.batch_norm import kept_statistics, recalibrate
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Choice, Value
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.trainers._cycle import cycled
from nas_plugin.trainers.search_trainer import SearchTrainer
from nas_plugin.trainers.selections.selection import APART, Ranking, Selection, selections


@selections.register("sampled")
class SampledSelection(Selection):
    """Draws architectures by the strengths of their candidates, and keeps the best.

    The strongest architecture is among them. Each runs with the weights of the supernet, on the
    logits' half, after the statistics of its batch norms are recalibrated on training batches.

    Args:
        samples: N; architectures that are drawn twice are measured once.
        calibration_batches: Batches of the weights' half for the statistics.
        monitor: The metric that ranks; of equal values the lower loss is better.
        seed: Seed of the draws; that of the search if None.

    Raises:
        OptionError: If an argument is not allowed.
    """

    def __init__(
        self,
        *,
        samples: int = 100,
        calibration_batches: int = 20,
        monitor: str = "accuracy",
        seed: int | None = None,
    ) -> None:
        if samples < 1 or calibration_batches < 1:
            raise OptionError(
                "samples and calibration_batches must be at least 1, got "
                f"{samples} and {calibration_batches}."
            )
        self.samples, self.calibration_batches = samples, calibration_batches
        self.monitor, self.seed = monitor, seed

    def __call__(self, trainer: SearchTrainer) -> Architecture:
        ranking = Ranking(trainer, self.monitor, type(self).__name__)
        space, status = trainer.mutator.space, trainer.mutator.status()
        rng = Random((trainer.seed if self.seed is None else self.seed) + APART)
        strongest: Architecture = trainer.export()
        drawn = [strongest, *(drawn_by(space, status, rng) for _ in range(self.samples - 1))]
        values = {a: self.measured(ranking, a) for a in dict.fromkeys(drawn)}
        best = max(values, key=lambda architecture: values[architecture])
        trainer.record("selection", {ranking.monitor.name: values[best][0], "tried": len(values)})
        return best

    @torch.no_grad()
    def measured(self, ranking: Ranking, architecture: Architecture) -> tuple[float, float]:
        """Returns the value of one architecture; the supernet is as before."""
        trainer = ranking.trainer
        model = trainer.model
        batches = islice(cycled(trainer.train_loader, 0), self.calibration_batches)
        training = model.training
        model.eval()
        trainer.mutator.use(architecture)
        with kept_statistics(model), trainer.precision.autocast():
            recalibrate(model, (inputs for inputs, _ in batches))
            found = ranking.running()
        model.train(training)
        return found


def drawn_by(
    space: SearchSpace, status: Mapping[str, Mapping[str, float]], rng: Random
) -> Architecture:
    """Draws an architecture whose candidates are as likely as they are strong.

    An input choice that follows edges is drawn by the strongest candidate on each edge.
    """
    chosen: dict[str, Value] = {}
    for key, choice in space.items():
        if space.follows_edges(choice):
            strengths = {str(c): _best(space[str(c)], status[str(c)]) for c in choice.candidates}
        else:
            strengths = dict(status[key])
        if choice.kind == "input" and choice.n_chosen is None:
            chosen[key] = tuple(c for c in choice.options if rng.random() < strengths[str(c)])
            continue
        left = list(choice.options)
        taken = []
        for _ in range((choice.n_chosen or 1) if choice.kind == "input" else 1):
            weights = [max(strengths[str(c)], 1e-12) for c in left]
            taken.append(left.pop(rng.choices(range(len(left)), weights)[0]))
        in_order = tuple(c for c in choice.candidates if c in taken)
        chosen[key] = in_order if choice.kind == "input" else in_order[0]
    spelled = {k: list(v) if isinstance(v, tuple) else v for k, v in chosen.items()}
    return space.architecture(spelled)


def _best(choice: Choice, strengths: Mapping[str, float]) -> float:
    return max(strengths[str(candidate)] for candidate in choice.options)
