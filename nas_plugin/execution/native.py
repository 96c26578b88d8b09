"""Runs all candidates that leave one node in one C++ call each way, on the CPU."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from torch import Tensor

from nas_plugin.execution import build, wide
from nas_plugin.execution.executor import Executor, Offer, Place, Plan, Planned
from nas_plugin.execution.forms import Form, Recognised, recognise
from nas_plugin.execution.native_call import TYPES, NativePlan, run

#: Pixels are addressed within an image by 32 bits.
MOST = 2**30


class NativeExecutor(Executor, name="native"):
    """One C++ call a fan-out and pass, on torch's own threads, in float and double.

    An image passes ReLU, convolutions and statistics while it is in the processor's cache. Only
    what goes into a batch norm is kept; backward computes the rest again. The coefficients of the
    mix are the scales of the norms, and their gradients follow from the norms' own sums.

    The library is built when the first fan-out is planned: see `build`.
    """

    @classmethod
    def unavailable(cls) -> str | None:
        return build.why_not()

    def plan(self, offers: Sequence[Offer], *, mixed: bool) -> Planned:
        refused: dict[Place, str] = {}
        rows: dict[int, list[tuple[int, Recognised]]] = {}
        for offer in offers:
            found = recognise(offer.module)
            reason = found if isinstance(found, str) else _reason(found.form)
            if reason is None and not isinstance(found, str):
                rows.setdefault(offer.place[0], []).append((offer.place[1], found))
            else:
                refused[offer.place] = str(reason)
        groups: dict[Hashable, list[int]] = {}
        for t, candidates in rows.items():
            kept = _consistent(candidates)
            refused.update(
                ((t, k), "has another stride or other channels than its neighbours")
                for k, _ in candidates
                if k not in {own for own, _ in kept}
            )
            rows[t] = kept
            if kept:
                groups.setdefault(tuple((k, found.form) for k, found in kept), []).append(t)
        if not groups:
            return Planned((), refused)
        failure = build.failure()
        if failure is not None:
            return Planned((), {offer.place: failure for offer in offers})
        return Planned([_plan(ts, [rows[t] for t in ts]) for ts in groups.values()], refused)

    def refuses(self, x: Tensor, plan: Plan) -> str | None:
        assert isinstance(plan, NativePlan)
        if x.device.type != "cpu":
            return f"runs on the CPU, not on {x.device.type}"
        if x.dtype not in TYPES:
            return f"computes in {', '.join(TYPES.values())}, not in {x.dtype}"
        if plan.c_in is not None and x.shape[1] != plan.c_in:
            return f"expects {plan.c_in} channels, not {x.shape[1]}"
        if x.numel() == 0 or x[0].numel() > MOST:
            return "sees an input that is empty or too large"
        return None

    def run(self, x: Tensor, plan: Plan, mix: Tensor | None) -> list[Tensor]:
        assert isinstance(plan, NativePlan)
        return run(x, plan, mix)


def _reason(form: Form) -> str | None:
    """Returns why a form is not served; None if it is."""
    if form.bias:
        return "has a convolution with a bias"
    if form.kind in ("conv", "relu_conv_norm", "conv_norm_relu") and form.dilation != 1:
        return "has a dense convolution with dilation"
    return None


def _consistent(candidates: Sequence[tuple[int, Recognised]]) -> list[tuple[int, Recognised]]:
    """Returns the candidates that agree with the first of them that has weights.

    They agree on stride and channels; the dispatcher runs and adds the others.
    """
    forms = [found.form for _, found in candidates]
    first = next((form for form in forms if form.c_out is not None), forms[0])

    def agrees(form: Form) -> bool:
        if form.stride != first.stride:
            return False
        if form.c_out is None:
            return first.c_in == first.c_out
        return (form.c_in, form.c_out) == (first.c_in, first.c_out)

    return [pair for pair, form in zip(candidates, forms, strict=True) if agrees(form)]


def _plan(ts: Sequence[int], rows: Sequence[Sequence[tuple[int, Recognised]]]) -> NativePlan:
    """Returns the plan of rows whose candidates have the same forms at the same places."""
    columns = [(pairs[0][0], [found for _, found in pairs]) for pairs in zip(*rows, strict=True)]
    forms = [found[0].form for _, found in columns]
    known = next((form for form in forms if form.c_out is not None), None)
    return NativePlan(
        tuple(ts),
        tuple((t, k) for t in ts for k, _ in columns),
        columns=columns,
        c_in=None if known is None else known.c_in,
        c_out=None if known is None else known.c_out,
        stride=forms[0].stride,
        wide=wide.plan_entries([(i, k, found) for i, row in enumerate(rows) for k, found in row]),
    )
