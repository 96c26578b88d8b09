"""ENAS: an LSTM that writes an architecture choice by choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.choice.decision import Decision
from nas_plugin.errors import OptionError
from nas_plugin.mutators import _subsets
from nas_plugin.mutators.mutator import PATHS, POLICY, Mutator
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Choice, Value
from nas_plugin.space.decide import decisions_of

#: A choice and the logits of its options → the positions of the chosen ones.
Chooser = Callable[[Choice, Tensor], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Written:
    """An architecture that the controller wrote, and how probable that was.

    Args:
        architecture: What it wrote.
        log_prob: Log probability of the whole architecture; carries the gradient of REINFORCE.
        entropy: Sum of the entropies of the choices that were met.
        skip_penalty: KL divergence of the skip probabilities from their target: summed over a
            choice's inputs, averaged over the choices of any number of inputs.
    """

    architecture: Architecture
    log_prob: Tensor
    entropy: Tensor
    skip_penalty: Tensor


class EnasMutator(Mutator, name="enas"):
    """Samples one path from an LSTM controller; its parameters are trained by REINFORCE.

    The controller meets the active choices in order. Options of a LayerChoice get logits from a
    linear layer on its state, shared by choices of equal candidates. An input gets its logit by
    attention on what the controller remembers of it: its state after the last choice whose key is
    the input's name or begins with ``name/``; else a learned vector. Logits are
    ``tanh_constant * tanh(logit)``. A choice of any number of inputs takes each with
    ``softmax([-q, q])[1] = sigmoid(2q)``, as the authors sample it.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the controller's parameters and all draws.
        hidden: Size of the LSTM.
        tanh_constant: Bounds logits, so that it keeps exploring; the authors' macro search.
        op_tanh_reduce: Divides the bound for operations; the authors' micro search has
            ``tanh_constant=1.10, op_tanh_reduce=2.5``.
        skip_target: Probability of a skip connection that the penalty pulls to.
        authors_skip_penalty: Take the penalty of ``sigmoid(q)``, as the authors' code does, though
            paths are drawn with ``sigmoid(2q)``: it then pulls the target 0.4 to 0.308.

    Attributes:
        written: What the last `reset` sampled.

    Raises:
        OptionError: If an argument is not allowed.

    References:
        Pham et al. 2018, https://arxiv.org/abs/1802.03268
    """

    gives = frozenset({PATHS, POLICY})
    sparse = True

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        hidden: int = 64,
        tanh_constant: float = 1.5,
        op_tanh_reduce: float = 1.0,
        skip_target: float = 0.4,
        authors_skip_penalty: bool = False,
    ) -> None:
        super().__init__(model, seed=seed)
        if hidden < 1 or tanh_constant <= 0 or op_tanh_reduce <= 0 or not 0 < skip_target < 1:
            raise OptionError(
                "hidden, tanh_constant and op_tanh_reduce must be positive and skip_target be in "
                f"(0, 1); got {hidden}, {tanh_constant}, {op_tanh_reduce}, {skip_target}."
            )
        self.tanh_constant, self.op_tanh_reduce = tanh_constant, op_tanh_reduce
        self.skip_target, self.authors_skip_penalty = skip_target, authors_skip_penalty
        layers = [c for c in self.space.values() if c.kind != "input"]
        kinds = list(dict.fromkeys((c.kind, c.candidates) for c in layers))
        self._kind_of = {c.key: kinds.index((c.kind, c.candidates)) for c in layers}
        inputs = [c for c in self.space.values() if c.kind == "input"]
        names = dict.fromkeys(_input_name(c, i) for c in inputs for i in range(len(c.candidates)))
        self._name_of = {name: i for i, name in enumerate(names)}
        self._groups = {key: _groups_of(key, names) for key in self.space}
        self.cell = nn.LSTMCell(hidden, hidden)
        self.start = nn.Parameter(torch.zeros(1, hidden))
        self.heads = nn.ModuleList(nn.Linear(hidden, len(c), bias=False) for _, c in kinds)
        self.embeddings = nn.ModuleList(nn.Embedding(len(c), hidden) for _, c in kinds)
        if names:
            self.names = nn.Embedding(len(names), hidden)
            self.anchor = nn.Linear(hidden, hidden, bias=False)
            self.query = nn.Linear(hidden, hidden, bias=False)
            self.attention = nn.Linear(hidden, 1, bias=False)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.1, 0.1, generator=self.generator)
        self.written: Written | None = None

    def sample_search(self) -> dict[str, Decision]:
        self.written = self.write(
            lambda choice, logits: _subsets.draw(logits, _number(choice), self.generator)
        )
        return decisions_of(self.space, self.written.architecture)

    def export(self) -> Architecture:
        """Returns the architecture of the most probable choices, met one after the other."""
        with torch.no_grad():
            return self.write(_most_probable).architecture

    def status(self) -> dict[str, dict[str, float]]:
        """Returns the probabilities met on the way to `export`; uniform ones for other keys."""
        met: dict[str, list[float]] = {}

        def note(choice: Choice, logits: Tensor) -> tuple[int, ...]:
            m = _number(choice)
            met[choice.key] = (_subsets.inclusion(logits, m) / (m or 1)).tolist()
            return _most_probable(choice, logits)

        with torch.no_grad():
            self.write(note)
        found = {}
        for key, choice in self.space.items():
            if not self.space.follows_edges(choice):
                n = len(choice.options)
                known = dict(zip(choice.options, met.get(key, [1 / n] * n), strict=True))
                found[key] = {str(c): known.get(c, 0.0) for c in choice.candidates}
        return found

    def log_prob(self, architecture: Mapping[str, Any]) -> Tensor:
        """Returns the log probability of writing `architecture`."""
        chosen = self.space.architecture(architecture)

        def forced(choice: Choice, logits: Tensor) -> tuple[int, ...]:
            value = chosen[choice.key]
            entries = value if isinstance(value, tuple) else (value,)
            return tuple(sorted(choice.options.index(entry) for entry in entries))

        return self.write(forced).log_prob

    def write(self, choose: Chooser) -> Written:
        """Lets the controller meet the active choices, `choose` deciding each."""
        x: Tensor = self.start
        h = c = torch.zeros_like(x)
        zero = x.new_zeros(())
        log_prob, entropy, skip_penalties = zero, zero, []
        memory: dict[str, Tensor] = {}
        written: dict[str, Value] = {}
        for choice in self.space.order:
            if not choice.is_active(written):
                continue
            h, c = self.cell(x, (h, c))
            anchors = self._anchors(choice, memory)
            logits = self._logits(choice, h, anchors)
            chosen = choose(choice, logits)
            m = _number(choice)
            log_prob = log_prob + _subsets.log_prob(logits, chosen, m)
            entropy = entropy + _subsets.entropy(logits, m)
            if m is None:
                skip_penalties.append(self._skip_penalty(logits))
            written[choice.key] = _value(choice, chosen)
            x = self._input_of(choice, chosen, anchors)
            for name in self._groups[choice.key]:
                memory[name] = h
        penalty = torch.stack(skip_penalties).mean() if skip_penalties else zero
        return Written(Architecture(written), log_prob, entropy, penalty)

    def _logits(self, choice: Choice, h: Tensor, anchors: Tensor | None) -> Tensor:
        """Returns the logits of a choice's options, ``(n,)``."""
        if anchors is None:
            kept = [choice.candidates.index(option) for option in choice.options]
            raw = self.heads[self._kind_of[choice.key]](h)[0, kept]
            return self.tanh_constant / self.op_tanh_reduce * torch.tanh(raw)
        q = self.attention(torch.tanh(self.anchor(anchors) + self.query(h)))[:, 0]
        bounded = self.tanh_constant * torch.tanh(q)
        # softmax([-q, q]) is sigmoid(2q).
        return 2 * bounded if choice.n_chosen is None else bounded

    def _anchors(self, choice: Choice, memory: Mapping[str, Tensor]) -> Tensor | None:
        """Returns what is remembered of each input, ``(n, hidden)``."""
        if choice.kind != "input":
            return None
        rows = []
        for option in choice.options:
            name = _input_name(choice, choice.candidates.index(option))
            index = torch.tensor([self._name_of[name]], device=self.start.device)
            rows.append(memory[name] if name in memory else self.names(index))
        return torch.cat(rows)

    def _input_of(self, choice: Choice, chosen: tuple[int, ...], anchors: Tensor | None) -> Tensor:
        """Returns what the LSTM reads next."""
        if anchors is None:
            option = choice.candidates.index(choice.options[chosen[0]])
            index = torch.tensor([option], device=self.start.device)
            embedded: Tensor = self.embeddings[self._kind_of[choice.key]](index)
            return embedded
        total = anchors[list(chosen)].sum(dim=0, keepdim=True)
        return total / (1 + len(chosen)) if choice.n_chosen is None else total / len(chosen)

    def _skip_penalty(self, logits: Tensor) -> Tensor:
        """Returns ``sum_i KL(p_i || target)`` of Bernoulli probabilities."""
        # Logits are 2q here.
        p = (logits / 2 if self.authors_skip_penalty else logits).sigmoid()
        target = self.skip_target
        taken = p * (p / target).log()
        left = (1 - p) * ((1 - p) / (1 - target)).log()
        return (taken + left).sum()


def _number(choice: Choice) -> int | None:
    return choice.n_chosen if choice.kind == "input" else 1


def _most_probable(choice: Choice, logits: Tensor) -> tuple[int, ...]:
    return _subsets.strongest(logits, _number(choice))


def _value(choice: Choice, chosen: tuple[int, ...]) -> Value:
    options = tuple(choice.options[i] for i in chosen)
    return options if choice.kind == "input" else options[0]


def _input_name(choice: Choice, index: int) -> str:
    """Returns what an input is called: its own name, or its place where it has none."""
    candidate = choice.candidates[index]
    return candidate if isinstance(candidate, str) else f"{choice.key}/{candidate}"


def _groups_of(key: str, names: Mapping[str, None]) -> list[str]:
    return [name for name in names if key == name or key.startswith(f"{name}/")]
