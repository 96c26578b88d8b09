"""The table of logits that all differentiable mutators share."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nas_plugin.choice.decision import Decision
from nas_plugin.errors import CheckpointError
from nas_plugin.mutators.mutator import MIXES, MixKind, Mutator
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.discretize import discretize


class DifferentiableMutator(Mutator):
    """Holds logits of B keys and K candidates as one padded table.

    A subclass gives `relax`. Input choices that follow edges have no row: all their inputs run.
    A `relax` that chooses one candidate is asked m times for a choice of m inputs, each time about
    what is left: the logits of what is taken are ``-inf`` then. Input choices of any number are
    independent gates, whatever `relax` does with the others; all their inputs run, as they were
    computed anyway.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the logits and all later draws.
        scale: Standard deviation of the initial logits.

    Attributes:
        alphas: ``(B, K)``; entries past a key's own candidates are never used.
        rows: The key of each row.
        n_chosen: ``(B, 1)``, how many candidates of each row an architecture holds.
        betas: ``(B', K')``, the logits of inputs that follow edges; None without `add_betas`.
        edge_rows: The key of each row of `betas`.
    """

    gives: ClassVar[frozenset[str]] = frozenset({MIXES})
    mixes: ClassVar[MixKind] = "simplex"

    def __init__(self, model: nn.Module, *, seed: int = 0, scale: float = 1e-3) -> None:
        super().__init__(model, seed=seed)
        self.scale = scale
        choices = [c for c in self.space.values() if not self.space.follows_edges(c)]
        self.rows = [choice.key for choice in choices]
        widths = torch.tensor([len(choice.candidates) for choice in choices])
        width = int(widths.max())
        noise = torch.randn(len(choices), width, generator=self.generator)
        self.valid: Tensor
        self.independent: Tensor
        self.n_chosen: Tensor
        self.register_buffer("valid", torch.arange(width) < widths[:, None], persistent=False)
        any_number = [c.kind == "input" and c.n_chosen is None for c in choices]
        n_chosen = torch.tensor([(c.n_chosen or 1) if c.kind == "input" else 1 for c in choices])
        self.register_buffer("independent", torch.tensor(any_number)[:, None], persistent=False)
        self.register_buffer("n_chosen", n_chosen[:, None], persistent=False)
        self._any_number = any_number
        self._any_independent = any(any_number)
        self._most = int(n_chosen.max())
        self._widths: list[int] = widths.tolist()
        self._all = [tuple(range(n)) for n in self._widths]
        self._none: list[tuple[int, ...]] = [()] * len(choices)
        self.alphas = nn.Parameter(scale * noise * self.valid)
        self.betas: nn.Parameter | None = None
        self.edge_rows: list[str] = []
        self._edge_widths: list[int] = []

    def add_betas(self) -> None:
        """Gives every input choice that follows edges logits of its own (edge normalisation).

        Their softmax multiplies what arrives on the edges, and an edge is ranked by it times the
        strength of its best candidate. Spaces without such choices have no betas.
        """
        followers = [c for c in self.space.values() if self.space.follows_edges(c)]
        if self.edge_rows or not followers:
            return
        self.edge_rows = [choice.key for choice in followers]
        self._edge_widths = [len(choice.candidates) for choice in followers]
        noise = torch.randn(len(followers), max(self._edge_widths), generator=self.generator)
        self.betas = nn.Parameter((self.scale * noise).to(self.alphas))

    def edge_mixes(self) -> dict[str, Tensor]:
        """Returns ``softmax(beta)`` of every input choice that follows edges."""
        if self.betas is None:
            return {}
        width = self.betas.shape[1]
        widths = torch.tensor(self._edge_widths, device=self.betas.device)
        padding = torch.arange(width, device=self.betas.device) >= widths[:, None]
        table = self.betas.masked_fill(padding, float("-inf")).softmax(dim=1)
        rows = zip(self.edge_rows, table.unbind(0), self._edge_widths, strict=True)
        return {key: row[:n] for key, row, n in rows}

    def relax(self, logits: Tensor) -> Tensor:
        """Turns logits ``(B, K)`` into mixes ``(B, K)``, one row per key."""
        raise NotImplementedError(f"{type(self).__name__} must say how logits become mixes")

    def gates(self, logits: Tensor) -> Tensor:
        """Turns the logits of choices of any number into mixes, each entry by itself."""
        return logits.sigmoid()

    def masked_softmax(self, logits: Tensor) -> Tensor:
        """Softmax over each row's own candidates, ``(B, K)``; zero past them."""
        return logits.masked_fill(~self.valid, float("-inf")).softmax(dim=1)

    def probabilities(self) -> Tensor:
        """The strength of every candidate, ``(B, K)``, by which it is kept or not."""
        return self._with_gates(self.masked_softmax(self.alphas), self.alphas.sigmoid())

    def active(self, mixes: Tensor) -> list[tuple[int, ...]]:
        """Returns, for each row, the candidates that run; if `sparse`, those not mixed by 0."""
        if not self.sparse:
            return self._all
        return [
            every if any_number else tuple(i for i in every if row[i])
            for row, every, any_number in zip(
                (mixes != 0).tolist(), self._all, self._any_number, strict=True
            )
        ]

    def watched(self, mixes: Tensor) -> list[tuple[int, ...]]:
        """Returns, for each row, those of `active` that run only for the sake of their gate."""
        return self._none

    def sample_search(self) -> dict[str, Decision]:
        mixes = self._as_many_as_chosen(self.relax(self.alphas))
        if self._any_independent:
            mixes = self._with_gates(mixes, self.gates(self.alphas))
        width = mixes.shape[1]
        decisions = {
            key: Decision(mix if n == width else mix[:n], active, watched)
            for key, mix, n, active, watched in zip(
                self.rows,
                mixes.unbind(0),
                self._widths,
                self.active(mixes),
                self.watched(mixes),
                strict=True,
            )
        }
        edges = self.edge_mixes()
        for key, choice in self.space.items():
            if key not in decisions:
                decisions[key] = Decision(edges.get(key), tuple(range(len(choice.candidates))))
        return decisions

    def export(self) -> Architecture:
        scores = self._scores()
        for key, mix in self.edge_mixes().items():
            for edge, beta in zip(self.space[key].candidates, mix.tolist(), strict=True):
                scores[str(edge)] = [beta * score for score in scores[str(edge)]]
        return discretize(self.space, scores)

    def status(self) -> dict[str, dict[str, float]]:
        rows = {**self._scores(), **{k: mix.tolist() for k, mix in self.edge_mixes().items()}}
        return {
            key: dict(zip(map(str, self.space[key].candidates), row, strict=True))
            for key, row in rows.items()
        }

    def get_extra_state(self) -> dict[str, Any]:
        return {**super().get_extra_state(), "rows": [*self.rows, *self.edge_rows]}

    def set_extra_state(self, state: Any) -> None:
        super().set_extra_state(state)
        if state["rows"] != [*self.rows, *self.edge_rows]:
            raise CheckpointError(
                f"The logits of {type(self).__name__} were saved for the same keys in another "
                f"order: {state['rows'][:4]} …, here {self.rows[:4]} …. Resume with a model whose "
                "choice blocks are made in the same order."
            )

    def _scores(self) -> dict[str, list[float]]:
        with torch.no_grad():
            table = self.probabilities().tolist()
        return {key: row[:n] for key, row, n in zip(self.rows, table, self._widths, strict=True)}

    def _as_many_as_chosen(self, mixes: Tensor) -> Tensor:
        """Draws again, over what is left, where a hard `relax` gives less than a row chooses."""
        for _ in range(1, self._most):
            taken = mixes != 0
            missing = taken.sum(dim=1, keepdim=True) < self.n_chosen
            if not missing.any():
                break
            left = self.alphas.masked_fill(taken & missing, float("-inf"))
            mixes = mixes + torch.where(missing, self.relax(left), 0.0)
        return mixes

    def _with_gates(self, mixes: Tensor, gates: Tensor) -> Tensor:
        return torch.where(self.independent, gates * self.valid, mixes)


def gumbel_noise(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draws standard Gumbel noise of the shape, type and device of `logits`.

    Args:
        logits: Any shape; only its shape, type and device matter.
        generator: Lives on the CPU, so that every device draws the same.
    """
    exponential = torch.empty(logits.shape, dtype=logits.dtype).exponential_(generator=generator)
    # A draw of exactly 0 would give an infinite logit.
    smallest = torch.finfo(logits.dtype).tiny
    return -exponential.clamp_min(smallest).log().to(logits.device)


def straight_through(soft: Tensor, hard: Tensor | None = None) -> Tensor:
    """Returns hard values with the gradient of soft ones.

    Args:
        soft: ``(B, K)``.
        hard: ``(B, K)``, 0 or 1; by default the one-hot maximum of each row.

    Shape:
        - Output: ``(B, K)``, exactly 0 or 1
    """
    if hard is None:
        hard = torch.zeros_like(soft).scatter(1, soft.argmax(dim=1, keepdim=True), 1.0)
    # The parentheses keep the value exactly 0 or 1.
    return hard + (soft - soft.detach())
