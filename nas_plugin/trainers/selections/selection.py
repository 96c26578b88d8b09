"""What selections share, and the one by strength."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nas_plugin.data import Loader
from nas_plugin.errors import OptionError
from nas_plugin.files import write_atomic
from nas_plugin.registry import Registry
from nas_plugin.space.architecture import Architecture
from nas_plugin.trainers.bilevel import BilevelTrainer
from nas_plugin.trainers.monitor import Monitor
from nas_plugin.trainers.search_trainer import SearchTrainer

selections: Registry[type[Selection]] = Registry(
    "selection", package="nas_plugin.trainers.selections"
)
#: Keeps the draws of a selection apart from those of the search, which has the same seed.
APART = 2_000_003


class Selection:
    """Chooses an architecture by what a search has trained."""

    def __call__(self, trainer: SearchTrainer) -> Architecture:
        """Returns the architecture; the trainer has finished.

        Raises:
            OptionError: If the trainer lacks what the selection needs.
        """
        raise NotImplementedError(f"{type(self).__name__} must say how it selects")


@selections.register("strength")
class StrengthSelection(Selection):
    """Keeps the strongest candidates: what the trainer exports."""

    def __call__(self, trainer: SearchTrainer) -> Architecture:
        architecture: Architecture = trainer.export()
        return architecture


class Ranking:
    """Measures the supernet on the logits' half, as the mutator decides it.

    Every batch is normalised by its own statistics. A mutator that draws draws alike in every
    measurement, so that two of them differ by what was changed between them alone.

    Args:
        trainer: The trainer of the search.
        monitor: The metric that ranks; of equal values the lower loss is better.
        who: The selection, as errors call it.

    Raises:
        OptionError: If the trainer has no half for the logits, or the metric no direction.
    """

    def __init__(self, trainer: SearchTrainer, monitor: str, who: str) -> None:
        if not isinstance(trainer, BilevelTrainer):
            raise OptionError(
                f"{who} measures on the half of the data that the logits train on, which "
                f"{type(trainer).__name__} does not have. Use BilevelTrainer, or the selection "
                "'strength'."
            )
        self.trainer = trainer
        self.loader: Loader = trainer.measuring(trainer.arch_part)
        self.monitor = Monitor(monitor, None, trainer.objective.metrics)

    def drawn(self) -> tuple[float, float]:
        """Returns the value of the search's own decisions, greater for better."""
        with self.trainer.aside():
            found = self.trainer.objective.measured(
                self.loader, before_batch=self.trainer.mutator.reset, own_statistics=True
            )
        return self.value(found)

    def running(self) -> tuple[float, float]:
        """Returns the value of what was decided, normalised by the running statistics."""
        return self.value(self.trainer.objective.measured(self.loader))

    def value(self, found: dict[str, float]) -> tuple[float, float]:
        """Returns the metric and minus the loss, both greater for better."""
        metric = self.monitor(found)
        return (metric if self.monitor.mode == "max" else -metric, -found["loss"])


def finalize(
    trainer: SearchTrainer,
    selection: Selection | str | Callable[[SearchTrainer], Architecture] = "strength",
    path: str | Path | None = None,
) -> Architecture:
    """Returns the architecture of a finished search, and writes it to `path` if one is given.

    Args:
        trainer: Its `train` has returned. A selection that trains on changes its weights.
        selection: An instance or a name: ``strength``, ``perturbation``, ``sampled``.
        path: A JSON file.
    """
    chosen = selections.get(selection)() if isinstance(selection, str) else selection
    architecture = chosen(trainer)
    if path is not None and trainer.ranks.is_first:
        write_atomic(Path(path), architecture.dumps())
    return architecture
