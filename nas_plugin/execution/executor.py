"""What a faster way to run candidates is: it plans once, looks at the input, and runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from nas_plugin.registry import Registry

executors: Registry[type[Executor]] = Registry(
    "executor", package="nas_plugin.execution", group="nas_plugin.executors"
)

#: Candidate k of row t of a fan-out.
Place = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Offer:
    """One candidate that an executor may serve.

    Args:
        place: ``(t, k)``: the row of the fan-out and the candidate's index in that row's block.
        module: The candidate. It stays the owner of its parameters and statistics.
    """

    place: Place
    module: nn.Module


@dataclass(frozen=True, eq=False)
class Plan:
    """Candidates that one call of `Executor.run` serves; executors derive their own from it.

    A plan holds modules and what follows from their structure and mode, never tensors. It is made
    once per fan-out and mode (train or eval, the flags of batch norms), so both may be built in.

    Args:
        rows: The rows t of the fan-out that it gives an output for, ascending: T of them.
        served: The places ``(t, k)`` that the output of row t sums; every row has one at least.
        smallest: Rows below which the plan does not pay; it is then not used.
    """

    rows: tuple[int, ...]
    served: tuple[Place, ...]
    smallest: int = 1


@dataclass(frozen=True, eq=False)
class Planned:
    """What an executor makes of the offers of one fan-out.

    Args:
        plans: Any number; no place is served twice and no row is in two plans.
        refused: Place → why it is not served, for `explain`.
    """

    plans: Sequence[Plan] = ()
    refused: Mapping[Place, str] = field(default_factory=dict)


class Executor(ABC):
    """Runs candidates of several blocks on one input faster than one by one, with equal results.

    It matches types exactly, keeps no tensor and no changing state between forwards, and reads
    parameters and buffers through the modules on every call. `run` gives the same outputs,
    gradients (of the input, all weights and the mix, each of which may need none), second
    derivatives, running statistics and errors as the modules do; what of it cannot be given is
    refused in `plan` or `refuses`, and the modules themselves run. It never writes into its input.
    """

    name: ClassVar[str]

    def __init_subclass__(cls, name: str | None = None, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            cls.name = name
            executors.add(name, cls)

    @classmethod
    def unavailable(cls) -> str | None:
        """Returns why this machine cannot run it, such as a missing compiler; None if it can."""
        return None

    @abstractmethod
    def plan(self, offers: Sequence[Offer], *, mixed: bool) -> Planned:
        """Says which candidates are served together.

        Called once per fan-out and mode. Hooked, parametrized and patched modules are not offered.

        Args:
            offers: Candidates that read one tensor.
            mixed: Whether outputs are sums of candidates times coefficients. If not, every row is
                one module that runs as it is, such as a cell's preprocessing, and k is 0.
        """

    def refuses(self, x: Tensor, plan: Plan) -> str | None:
        """Returns why `plan` cannot run on `x`, or None.

        The answer may depend on `x`'s dtype, device, shape and memory format only; it is asked
        once for each combination of them.
        """
        return None

    @abstractmethod
    def run(self, x: Tensor, plan: Plan, mix: Tensor | None) -> list[Tensor]:
        """Returns, for each of the plan's rows, the sum of its served candidates.

        Args:
            x: ``(N, C, H, W)``, never written to.
            plan: One of those that `plan` made and `refuses` did not refuse.
            mix: ``(T, K)``, its rows in the order of ``plan.rows``, its columns by the index k of
                the candidate and at least as many as any block has; coefficients of places that
                are not served are there too and count nothing. None where not `mixed`: the
                modules' plain outputs.

        Shape:
            - Output: T tensors ``(N, C', H', W')``
        """
