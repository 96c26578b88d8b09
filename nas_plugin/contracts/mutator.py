"""What every mutator promises, as checks that any test suite can run.

@pytest.mark.parametrize("name", mutators.names())
@pytest.mark.parametrize("check", MUTATOR_CHECKS)
def test_every_mutator_keeps_its_contract(check, name):
    check(name)
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas_plugin.choice import Cell, InputChoice, LayerChoice, MutableScope, Repeat, keyed_blocks
from nas_plugin.errors import ChoiceError, NasError
from nas_plugin.mutators import Mutator, mutators
from nas_plugin.mutators._differentiable import DifferentiableMutator
from nas_plugin.space.choice import Choice
from nas_plugin.space.fix import apply_fixed_architecture

CHANNELS = 4
#: Steps after which every candidate was drawn: one that has a chance of 1/4 is missed once in
#: 10,000 runs, and the seed is fixed.
STEPS = 32
_HINT = "a hard choice needs straight_through(soft)"


class Gain(nn.Module):
    """Multiplies by a learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class Stack(MutableScope):
    """A scope whose blocks take their keys from it."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.layer = LayerChoice([Gain(), nn.Tanh()])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


class EveryBlock(nn.Module):
    """Holds every kind of block: shared, nested, repeated, partial, of unequal widths.

    Shape:
        - Input: ``(N, CHANNELS, H, W)``
        - Output: ``(N, 3)``
    """

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.ModuleList(
            Cell("cell", self._edge, n_nodes=2, preprocess=None, output="last") for _ in range(2)
        )
        self.scopes = nn.ModuleList([Stack("shared"), Stack("shared")])
        self.repeat = Repeat(lambda _: LayerChoice([Gain(), nn.Tanh(), nn.Identity()]), (1, 3))
        nested = nn.Sequential(Gain(), LayerChoice({"a": nn.Tanh(), "b": Gain()}))
        self.outer = LayerChoice({"nested": nested, "plain": Gain()}, key="outer")
        narrow = {"conv": nn.Conv2d(1, 1, 1), "skip": nn.Identity()}
        self.narrow = LayerChoice(narrow, key="narrow", partial=CHANNELS)
        self.one = InputChoice(n_candidates=3, n_chosen=1, key="one")
        self.two = InputChoice(n_candidates=4, n_chosen=2, reduction="mean", key="two")
        self.any = InputChoice(n_candidates=2, n_chosen=None, key="any")
        self.head = nn.Linear(CHANNELS, 3)

    @staticmethod
    def _edge(node: int, source: int) -> dict[str, nn.Module]:
        return {"gain": Gain(), "tanh": nn.Tanh(), "skip": nn.Identity()}

    def forward(self, x: Tensor) -> Tensor:
        first = self.cells[0](x, x)
        second = self.cells[1](x, first)
        for scope in self.scopes:
            second = scope(second)
        deep = self.repeat(second)
        outer = self.outer(self.narrow(deep))
        joined = self.one([first, second, deep]) + self.two([x, second, deep, outer])
        extra = self.any([first, outer])
        if extra is not None:
            joined = joined + extra
        logits: Tensor = self.head(joined.mean(dim=(2, 3)))
        return logits


def make(name: str, seed: int = 0) -> tuple[EveryBlock, Mutator, Tensor]:
    """Returns a model with every kind of block, a mutator of it, and an input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = EveryBlock()
        x = torch.randn(2, CHANNELS, 3, 3)
    return model, mutators.get(name)(model, seed=seed), x


def decides_every_key(name: str) -> None:
    """Every key has a decision of legal indices and as many coefficients as candidates."""
    model, mutator, x = make(name)
    mutator.reset()
    assert set(mutator.binding.decisions) == set(mutator.space)
    for key, decision in mutator.binding.decisions.items():
        n = len(mutator.space[key].candidates)
        assert all(0 <= i < n for i in decision.active), key
        assert list(decision.active) == sorted(set(decision.active)), key
        assert decision.mix is None or decision.mix.shape == (n,), key
    assert model(x).isfinite().all()


def runs_as_many_as_are_chosen(name: str) -> None:
    """A choice of m inputs runs at least m, with a coefficient other than zero; others run one.

    Both hold in weight steps, under `torch.no_grad`, and in those of the logits. What matters only
    for some values of other choices may run nothing.
    """
    _, mutator, _ = make(name)
    for step in range(2 * STEPS):
        with torch.set_grad_enabled(step % 2 == 0):
            mutator.reset()
        for key, decision in mutator.binding.decisions.items():
            choice = mutator.space[key]
            wanted = _fewest(choice)
            running = [i for i in decision.active if decision.mix is None or decision.mix[i] != 0]
            assert len(running) >= wanted, (
                f"'{key}' runs {len(running)} of its candidates, but {wanted} are chosen"
            )


def gives_every_logit_a_gradient(name: str) -> None:
    """Where coefficients are differentiable, the loss moves each logit of each key.

    A hard mix needs a straight-through gradient for that (`straight_through`).
    """
    model, mutator, x = make(name)
    mutator.reset()
    decisions = mutator.binding.decisions
    if not isinstance(mutator, DifferentiableMutator) and all(
        decision.mix is None for decision in decisions.values()
    ):
        return  # it samples paths, and learns from rewards if at all
    assert list(mutator.parameters()), "it mixes candidates, but has no logits"
    moved = [torch.zeros_like(p, dtype=torch.bool) for p in mutator.parameters()]
    for _ in range(STEPS):
        mutator.reset()
        loss = (model(x) ** 2).sum()
        gradients = torch.autograd.grad(loss, list(mutator.parameters()), allow_unused=True)
        for seen, gradient in zip(moved, gradients, strict=True):
            if gradient is not None:
                assert gradient.isfinite().all(), "a gradient of the logits is not finite"
                seen |= gradient != 0
    if isinstance(mutator, DifferentiableMutator):
        for key, seen, valid in zip(mutator.rows, moved[0], mutator.valid, strict=True):
            assert seen[valid].all(), f"logits of '{key}' never get a gradient; {_HINT}"
    assert all(seen.any() for seen in moved), f"some logits never get a gradient; {_HINT}"


def exports_a_legal_architecture(name: str) -> None:
    """What is exported fits the space and makes a plain model that runs alone."""
    model, mutator, x = make(name)
    architecture = mutator.export()
    assert mutator.space.architecture(architecture.to_json()) == architecture
    fixed = apply_fixed_architecture(copy.deepcopy(model), architecture)
    assert not keyed_blocks(fixed)
    assert fixed(x).shape == (2, 3)


def uses_an_architecture_as_if_it_were_fixed(name: str) -> None:
    """A given architecture inside the supernet computes what the fixed model computes."""
    model, mutator, x = make(name)
    architecture = mutator.export()
    mutator.use(architecture)
    expected = model(x)
    fixed = apply_fixed_architecture(copy.deepcopy(model), architecture)
    assert torch.equal(fixed(x), expected)


def draws_the_same_from_the_same_seed(name: str) -> None:
    """Two mutators of one seed decide alike; a saved state goes on where it was."""
    (_, first, _), (_, second, _) = make(name, 3), make(name, 3)
    for _ in range(3):
        first.reset()
        second.reset()
        assert same_decisions(first, second)
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second.reset()
    second.load_state_dict(torch.load(buffer, weights_only=True))
    first.reset()
    second.reset()
    assert same_decisions(first, second)
    assert first.export() == second.export()


def keeps_gradients_where_they_belong(name: str) -> None:
    """Under no_grad no coefficient needs a gradient; else every logit can get one."""
    model, mutator, _ = make(name)
    with torch.no_grad():
        mutator.reset()
    for decision in mutator.binding.decisions.values():
        assert decision.mix is None or not decision.mix.requires_grad
    assert not {id(p) for p in model.parameters()} & {id(p) for p in mutator.parameters()}


def refuses_a_second_mutator_and_another_space(name: str) -> None:
    """A model has one mutator; a state belongs to one space."""
    model, mutator, _ = make(name)
    refusal = ""
    try:
        mutators.get("random")(model)
    except ChoiceError as error:
        refusal = str(error)
    assert type(mutator).__name__ in refusal, "a second mutator was accepted"
    other = nn.Sequential(LayerChoice([nn.Linear(2, 2), nn.Identity()]))
    try:
        mutators.get(name)(other).load_state_dict(mutator.state_dict())
    except (NasError, RuntimeError):
        pass
    else:
        raise AssertionError("the state of another space was accepted")
    mutator.unbind(model)
    mutators.get("random")(model)


def copies_are_unbound(name: str) -> None:
    """A copy of the model is decided by nobody."""
    model, mutator, x = make(name)
    mutator.reset()
    copied = copy.deepcopy(model)
    assert all(place.block.binding is None for place in keyed_blocks(copied))
    mutator.bind(copied)
    assert torch.equal(copied(x), model(x))


def reports_probabilities(name: str) -> None:
    """The status holds, for every key decided by itself, one probability a candidate."""
    _, mutator, _ = make(name)
    status = mutator.status()
    for key, choice in mutator.space.items():
        if mutator.space.follows_edges(choice):
            continue
        assert list(status[key]) == [str(c) for c in choice.candidates], key
        assert all(0 <= p <= 1 for p in status[key].values()), key
        if choice.n_chosen is not None and mutator.exclusive:
            assert abs(sum(status[key].values()) - 1) < 1e-5, key


MUTATOR_CHECKS: tuple[Callable[[str], None], ...] = (
    decides_every_key,
    runs_as_many_as_are_chosen,
    gives_every_logit_a_gradient,
    exports_a_legal_architecture,
    uses_an_architecture_as_if_it_were_fixed,
    draws_the_same_from_the_same_seed,
    keeps_gradients_where_they_belong,
    refuses_a_second_mutator_and_another_space,
    copies_are_unbound,
    reports_probabilities,
)


def _fewest(choice: Choice) -> int:
    if choice.active_if:
        return 0
    return 1 if choice.kind != "input" else choice.n_chosen or 0


def same_decisions(first: Mutator, second: Mutator) -> bool:
    """Says whether two mutators decided alike."""
    a, b = first.binding.decisions, second.binding.decisions
    return all(a[key].active == b[key].active and same_mix(a[key].mix, b[key].mix) for key in a)


def same_mix(x: Tensor | None, y: Tensor | None) -> bool:
    """Says whether two mixes are equal bit for bit, or both absent."""
    if x is None or y is None:
        return x is y
    return torch.equal(x, y)
