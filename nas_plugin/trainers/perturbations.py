"""Perturbations of the mix in the steps of the weights, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.errors import OptionError
from nas_plugin.mutators import Mutator, mutators
from nas_plugin.registry import Registry
from nas_plugin.trainers.parts import Decisions, Perturbation, Search

perturbations: Registry[type[Perturbation]] = Registry(
    "perturbation", package="nas_plugin.trainers.perturbations"
)
#: Keeps the draws of a perturbation apart from those of the mutator, which has the same seed.
_APART = 1_000_003


class DrawnPerturbation(Perturbation):
    """A perturbation with a generator of its own.

    Args:
        seed: Seed of the generator; that of the search if None.
    """

    #: The kinds of mix (`Mutator.mixes`) that it can perturb.
    perturbs: ClassVar[tuple[str, ...]] = ()
    name: ClassVar[str]

    def __init__(self, *, seed: int | None = None) -> None:
        self.seed = seed
        self.generator = torch.Generator()
        self.progress = 0.0

    def join(self, search: Search) -> None:
        if search.mutator.mixes not in self.perturbs:
            able = [n for n in mutators.names() if mutators.get(n).mixes in self.perturbs]
            raise OptionError(
                f"The perturbation '{self.name}' cannot be combined with "
                f"{type(search.mutator).__name__}: {_WHY[search.mutator.mixes]}. Mutators that it "
                f"perturbs: {', '.join(able)}."
            )
        self.generator.manual_seed((search.seed if self.seed is None else self.seed) + _APART)

    def start_epoch(self, progress: float) -> None:
        self.progress = progress

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["generator"])


#: Kind of mix → why a perturbation may not fit it.
_WHY = {
    "none": "its steps of the weights run single paths without coefficients",
    "hard": "its candidates run with a coefficient of 1, and normalised it would be 1 again",
    "simplex": "its coefficients are probabilities",
    "independent": "its coefficients do not compete",
}


@perturbations.register("random")
class RandomPerturbation(DrawnPerturbation):
    """SDARTS-RS: adds ``U(-eps, eps)`` to each coefficient, clamps to [0, 1] and normalises.

    Args:
        eps_start: Radius in the first epoch.
        eps_end: Radius in the last epoch, reached linearly.
        seed: Seed of the generator; that of the search if None.

    Raises:
        OptionError: If a radius is negative, or the mutator's coefficients cannot be perturbed.

    References:
        Chen & Hsieh 2020, https://arxiv.org/abs/2002.05283
    """

    name = "random"
    perturbs = ("simplex", "independent")

    def __init__(
        self, *, eps_start: float = 0.03, eps_end: float = 0.3, seed: int | None = None
    ) -> None:
        super().__init__(seed=seed)
        if min(eps_start, eps_end) < 0:
            raise OptionError(f"A radius must not be negative, got {eps_start} and {eps_end}.")
        self.eps_start, self.eps_end = eps_start, eps_end
        self.normalises = True
        self._follow_edges: frozenset[str] = frozenset()

    def join(self, search: Search) -> None:
        super().join(search)
        self.normalises = search.mutator.mixes == "simplex"
        space = search.mutator.space
        self._follow_edges = frozenset(k for k, c in space.items() if space.follows_edges(c))
        self._gates = frozenset(k for k, c in space.items() if c.n_chosen is None)

    @property
    def eps(self) -> float:
        """The radius of this epoch."""
        return self.eps_start + self.progress * (self.eps_end - self.eps_start)

    @torch.no_grad()
    def __call__(self, decisions: Decisions, loss: Callable[[Decisions], Tensor]) -> Decisions:
        table = self.table(decisions)
        return table.decided(self.drawn(table))

    def table(self, decisions: Decisions) -> MixTable:
        """Returns the coefficients that may be perturbed: all but those of edges."""
        keys = [
            k for k, d in decisions.items() if d.mix is not None and k not in self._follow_edges
        ]
        normalised = [self.normalises and key not in self._gates for key in keys]
        return MixTable(decisions, keys, normalised)

    def drawn(self, table: MixTable) -> Tensor:
        """Returns a random point of the ball."""
        noise = torch.rand(table.mix.shape, generator=self.generator, dtype=table.mix.dtype)
        return table.projected(table.mix + self.eps * (2 * noise.to(table.mix.device) - 1))


@perturbations.register("adversarial")
class AdversarialPerturbation(RandomPerturbation):
    """SDARTS-ADV: the coefficients in an L-infinity ball that raise the training loss most.

    Projected gradient ascent on the very batch, from a random point, with steps of ``2 eps / n``
    along the gradient's sign; the model is in evaluation mode. If the loss did not rise, the
    coefficients stay. Where a batch is computed in parts, each part is attacked by itself.

    Args:
        eps_start: Radius in the first epoch.
        eps_end: Radius in the last epoch, reached linearly.
        steps: n.
        seed: Seed of the generator; that of the search if None.

    Raises:
        OptionError: If an argument is not allowed, or the mutator's coefficients cannot be
            perturbed.

    References:
        Chen & Hsieh 2020, https://arxiv.org/abs/2002.05283
    """

    name = "adversarial"
    evaluates = True

    def __init__(
        self,
        *,
        eps_start: float = 0.03,
        eps_end: float = 0.3,
        steps: int = 7,
        seed: int | None = None,
    ) -> None:
        super().__init__(eps_start=eps_start, eps_end=eps_end, seed=seed)
        if steps < 1:
            raise OptionError(f"steps must be at least 1, got {steps}.")
        self.steps = steps
        self._search: Search | None = None

    def join(self, search: Search) -> None:
        super().join(search)
        self._search = search

    def __call__(self, decisions: Decisions, loss: Callable[[Decisions], Tensor]) -> Decisions:
        table = self.table(decisions)
        with torch.no_grad():
            before = loss(decisions).detach()
            point = self.drawn(table)
        for _ in range(self.steps):
            with torch.enable_grad():
                leaf = point.detach().requires_grad_()
                (grad,) = torch.autograd.grad(loss(table.decided(leaf)), leaf)
            self._average(grad)
            point = point + 2 * self.eps / self.steps * grad.sign()
            inside = table.mix + (point - table.mix).clamp(-self.eps, self.eps)
            point = table.projected(inside)
        attacked = table.decided(point)
        with torch.no_grad():
            after = loss(attacked).detach()
        both = torch.stack([before, after])
        self._average(both)
        return decisions if both[0] > both[1] else attacked

    def _average(self, values: Tensor) -> None:
        # Every rank must attack alike, or their weights would be trained under other mixes.
        if self._search is not None:
            self._search.ranks.average([values])


@perturbations.register("dropout")
class DropoutPerturbation(DrawnPerturbation):
    """Drops candidates without parameters, so that skip connections do not win by being early.

    The coefficient of such a candidate is 0 with the probability `rate`, and else divided by
    ``1 - rate``. P-DARTS drops single outputs of skip connections; here a candidate is dropped as
    a whole, in all blocks of its key.

    Args:
        rate: Probability in the first epoch.
        rate_end: Probability in the last epoch, reached linearly.
        seed: Seed of the generator; that of the search if None.

    Raises:
        OptionError: If a rate is not in [0, 1), no candidate is without parameters, or the steps
            of the weights have no coefficients.

    References:
        Chen et al. 2019, https://arxiv.org/abs/1904.12760
    """

    name = "dropout"
    perturbs = ("simplex", "independent", "hard")

    def __init__(
        self, *, rate: float = 0.3, rate_end: float = 0.0, seed: int | None = None
    ) -> None:
        super().__init__(seed=seed)
        if not (0 <= rate < 1 and 0 <= rate_end < 1):
            raise OptionError(f"A rate lies in [0, 1), got {rate} and {rate_end}.")
        self.rate_start, self.rate_end = rate, rate_end
        self.droppable: dict[str, tuple[int, ...]] = {}

    @property
    def rate(self) -> float:
        """The probability of this epoch."""
        return self.rate_start + self.progress * (self.rate_end - self.rate_start)

    def join(self, search: Search) -> None:
        super().join(search)
        self.droppable = parameter_free(search.model)
        if not self.droppable:
            raise OptionError(
                "The perturbation 'dropout' drops candidates without parameters, and this model "
                "has none. Leave it out."
            )

    @torch.no_grad()
    def __call__(self, decisions: Decisions, loss: Callable[[Decisions], Tensor]) -> Decisions:
        changed = dict(decisions)
        for key, indices in self.droppable.items():
            mix = decisions[key].mix
            # Drawn for every key, so that one draw does not depend on what another key decided.
            kept = torch.rand(len(indices), generator=self.generator) >= self.rate
            if mix is not None:
                factor = torch.ones_like(mix)
                factor[list(indices)] = kept.to(mix) / (1 - self.rate)
                changed[key] = replace(decisions[key], mix=mix * factor)
        return changed


class MixTable:
    """The coefficients of several keys as one padded table.

    Args:
        decisions: Decisions of all keys.
        keys: Those of the table.
        normalised: For each key, whether its coefficients keep their sum.

    Attributes:
        mix: ``(B, K)``, 0 where a key has no candidate or does not run it.
        active: ``(B, K)``, where a candidate runs.
    """

    def __init__(self, decisions: Decisions, keys: list[str], normalised: list[bool]) -> None:
        self._decisions, self._keys = decisions, keys
        mixes = [m.detach() for k in keys if (m := decisions[k].mix) is not None]
        self.mix = pad_sequence(mixes, batch_first=True)
        self._widths = [len(mix) for mix in mixes]
        active = torch.zeros(self.mix.shape, dtype=torch.bool)
        for row, key in enumerate(keys):
            active[row, list(decisions[key].active)] = True
        self.active = active.to(self.mix.device)
        self._normalised = torch.tensor(normalised, device=self.mix.device)[:, None]
        self._sums = (self.mix * self.active).sum(dim=1, keepdim=True)

    def projected(self, point: Tensor) -> Tensor:
        """Returns a point clamped to [0, 1], in which normalised rows have their sum again."""
        inside = point.clamp(0, 1) * self.active
        total = inside.sum(dim=1, keepdim=True)
        # Where everything was clamped to 0 nothing is left to scale: the row stays as it was.
        scaled = torch.where(total > 0, inside * (self._sums / total.clamp_min(1e-12)), self.mix)
        return torch.where(self._normalised, scaled, inside)

    def decided(self, point: Tensor) -> Decisions:
        """Returns the decisions in which the table's coefficients are those of `point`."""
        rows = zip(self._keys, point.unbind(0), self._widths, strict=True)
        moved = {key: replace(self._decisions[key], mix=row[:n]) for key, row, n in rows}
        return {**self._decisions, **moved}


def parameter_free(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Returns, for each layer choice, its candidates that nowhere have parameters."""
    found: dict[str, set[int]] = {}
    for place in keyed_blocks(model):
        if isinstance(place.block, LayerChoice):
            free = {
                i
                for i, module in enumerate(place.block)
                if not any(True for _ in module.parameters())
            }
            found[place.key] = found.get(place.key, free) & free
    return {key: tuple(sorted(free)) for key, free in found.items() if free}


def make_perturbation(perturbation: Perturbation | str | None) -> Perturbation | None:
    """Returns the perturbation that is meant by a name or an instance."""
    if isinstance(perturbation, str):
        return perturbations.get(perturbation)()
    return perturbation


def perturbs(mutator: type[Mutator], perturbation: str) -> bool:
    """Says whether a perturbation can be combined with a mutator."""
    found = perturbations.get(perturbation)
    return not issubclass(found, DrawnPerturbation) or mutator.mixes in found.perturbs
