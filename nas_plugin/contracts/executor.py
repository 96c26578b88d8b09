"""What every executor promises: it equals the modules it stands for, in everything."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas_plugin.choice import Binding, Cell, Decision, keyed_blocks
from nas_plugin.execution import Dispatcher, Executor, Offer, Plan, Planned, services
from nas_plugin.execution.verify import SCENARIOS, Scenario, differences, run
from nas_plugin.mutators import Mutator, RandomMutator

#: Of float64, relative to the largest value of a kind.
TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class PointwisePlan(Plan):
    """The convolutions of the served places, in their order."""

    convs: tuple[nn.Conv2d, ...] = ()


class GroupedPointwise(Executor):
    """Runs 1x1 convolutions without bias that read one tensor as one convolution.

    The smallest executor that groups blocks: it proves the seam and serves nothing else.
    """

    name = "pointwise"

    def plan(self, offers: Sequence[Offer], *, mixed: bool) -> Planned:
        refused = {offer.place: self._reason(offer.module) for offer in offers}
        kept = [offer for offer in offers if refused[offer.place] is None]
        convs = [offer.module for offer in kept if isinstance(offer.module, nn.Conv2d)]
        reasons = {place: reason for place, reason in refused.items() if reason is not None}
        if not mixed or not convs:
            return Planned(refused=reasons)
        served = tuple(offer.place for offer in kept)
        rows = tuple(sorted({row for row, _ in served}))
        return Planned([PointwisePlan(rows, served, smallest=2, convs=tuple(convs))], reasons)

    def run(self, x: Tensor, plan: Plan, mix: Tensor | None) -> list[Tensor]:
        assert isinstance(plan, PointwisePlan) and mix is not None
        kernels: dict[int, Tensor] = {}
        for (row, k), conv in zip(plan.served, plan.convs, strict=True):
            # A mix of linear maps is the linear map of the mix.
            term = mix[plan.rows.index(row), k] * conv.weight
            kernels[row] = kernels[row] + term if row in kernels else term
        ordered = [kernels[row] for row in plan.rows]
        out = nn.functional.conv2d(x, torch.cat(ordered))
        return list(torch.split(out, [kernel.shape[0] for kernel in ordered], dim=1))

    @staticmethod
    def _reason(candidate: nn.Module) -> str | None:
        if type(candidate) is not nn.Conv2d:
            return f"is a {type(candidate).__name__}, not a Conv2d"
        if candidate.kernel_size != (1, 1) or candidate.bias is not None:
            return "is not a 1x1 convolution without bias"
        return None if candidate.stride == (1, 1) else "has a stride"


class FanNet(nn.Module):
    """A cell of which some edges can be grouped and some cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell("cell", self._edge, n_nodes=3, n_inputs=2)

    @staticmethod
    def _edge(node: int, source: int) -> dict[str, nn.Module]:
        one = nn.Conv2d(4, 4, 1, bias=False)
        other = nn.Conv2d(4, 4, 3, padding=1) if (node + source) % 4 == 0 else one
        return {"one": one, "two": nn.Conv2d(4, 4, 1, bias=False), "other": other}

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cell(x, x)
        return out


def perturbed_decisions(model: nn.Module, seed: int = 0) -> dict[str, Decision]:
    """Returns dense decisions whose coefficients sum to nothing in particular, zeros included."""
    generator = torch.Generator().manual_seed(seed)
    decisions: dict[str, Decision] = {}
    for place in keyed_blocks(model):
        k = len(place.block.candidates)
        if place.key in decisions:
            continue
        mix = torch.randn(k, generator=generator, dtype=torch.float64)
        mix[-1] *= torch.rand((), generator=generator) > 0.2
        decisions[place.key] = Decision(
            mix if place.block.kind == "layer" else None, tuple(range(k))
        )
    return decisions


def equals_the_modules(
    executor: Executor, model: nn.Module, x: Tensor, scenarios: Sequence[Scenario] = SCENARIOS
) -> None:
    """In every scenario of `verify`, with coefficients that need not sum to one."""
    decisions = perturbed_decisions(model)
    for scenario in scenarios:
        found = [
            run(copy.deepcopy(model).double(), x, decisions, dispatch, scenario)
            for dispatch in (None, Dispatcher([executor]))
        ]
        for kind, difference in differences(*found).items():
            assert difference <= TOLERANCE, f"{scenario.name}: {kind} differ by {difference:.3g}"


def served_blocks(executor: Executor, model: nn.Module, x: Tensor) -> int:
    """Returns how many blocks and preprocessing modules of a copy the executor serves whole."""
    twin = copy.deepcopy(model)
    binding = Binding("contract")
    binding.attach(twin)
    binding.dispatch = Dispatcher([executor])
    binding.decisions = {
        key: Decision(None if d.mix is None else d.mix.to(x.dtype), d.active)
        for key, d in perturbed_decisions(twin).items()
    }
    twin(x)
    return sum(service.is_served for service in services(twin))


def leaves_sampled_paths_alone(executor: Executor, model: nn.Module, x: Tensor) -> None:
    """A plain selection runs as the modules run it."""
    mutator: Mutator = RandomMutator(model)
    mutator.reset()
    eager = model(x)
    mutator.binding.dispatch = Dispatcher([executor])
    assert torch.equal(model(x), eager)
    mutator.unbind(model)


EXECUTOR_CHECKS: tuple[Callable[[Executor, nn.Module, Tensor], None], ...] = (
    equals_the_modules,
    leaves_sampled_paths_alone,
)
