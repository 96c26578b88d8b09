"""Candidates of one form as one wide operation: pure PyTorch, on any device, differentiable twice.

What candidates share is computed once per input instead of once per candidate: the ReLU, a pool and
its normalisation. What they do not share runs side by side, as one depthwise convolution, one
batched product and one batch norm of all their channels. The coefficient of a candidate that ends
in a batch norm is folded into the norm's scale. Convolutions that are mixed without anything in
between are mixed as kernels, before they run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_plugin.execution.depthwise import depthwise
from nas_plugin.execution.executor import Executor, Offer, Place, Plan, Planned
from nas_plugin.execution.forms import Form, Recognised, recognise
from nas_plugin.execution.side_by_side import batch_norm, pointwise, shared_batch_norm

#: Index of a row within a plan, the candidate's index in its block, what the candidate is.
Entry = tuple[int, int, Recognised]


@dataclass(frozen=True, eq=False)
class Lane:
    """Candidates that run as one: of one form, no two of one row.

    Args:
        form: What they compute; of merged convolutions with the largest kernel.
        rows: Their rows, as indices within the plan, ascending.
        columns: Their indices in their blocks.
        convs: For each place in the form, the convolutions of all of them.
        norms: Likewise the batch norms.
    """

    form: Form
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    convs: tuple[tuple[nn.Conv2d, ...], ...]
    norms: tuple[tuple[nn.BatchNorm2d, ...], ...]


@dataclass(frozen=True, eq=False)
class WidePlan(Plan):
    """Lanes whose sums are the rows' outputs.

    Args:
        lanes: See `Lane`.
        stride: Stride of all rows.
        c_in: Channels of the input; None where the forms do not say.
        c_out: Channels of the outputs; None where they are the input's.
    """

    lanes: tuple[Lane, ...] = ()
    stride: int = 1
    c_in: int | None = None
    c_out: int | None = None


class WideExecutor(Executor, name="wide"):
    """Runs candidates of known forms side by side."""

    def plan(self, offers: Sequence[Offer], *, mixed: bool) -> Planned:
        refused: dict[Place, str] = {}
        known: dict[int, list[tuple[int, Recognised]]] = {}
        for offer in offers:
            found = recognise(offer.module)
            if isinstance(found, str):
                refused[offer.place] = found
            else:
                known.setdefault(offer.place[0], []).append((offer.place[1], found))
        groups: dict[tuple[int, int | None, int | None], list[int]] = {}
        for row, candidates in known.items():
            geometry = _geometry(found.form for _, found in candidates)
            if isinstance(geometry, str):
                refused.update({(row, k): geometry for k, _ in candidates})
            else:
                groups.setdefault(geometry, []).append(row)
        plans = []
        for rows in groups.values():
            served = tuple((row, k) for row in rows for k, _ in known[row])
            entries = [(i, k, found) for i, row in enumerate(rows) for k, found in known[row]]
            plans.append(replace(plan_entries(entries), rows=tuple(rows), served=served))
        return Planned(plans, refused)

    def refuses(self, x: Tensor, plan: Plan) -> str | None:
        assert isinstance(plan, WidePlan)
        if plan.c_in is not None and x.shape[1] != plan.c_in:
            return f"takes {plan.c_in} channels, got {x.shape[1]}"
        return None

    def run(self, x: Tensor, plan: Plan, mix: Tensor | None) -> list[Tensor]:
        assert isinstance(plan, WidePlan)
        return mixture(x, plan, mix)


def plan_entries(entries: Sequence[Entry]) -> WidePlan:
    """Returns the plan of candidates whose rows all have the same stride and channels.

    Rows are numbered within the plan; `rows` and `served` of the result say nothing else.
    """
    groups: dict[tuple[Form, int], list[Entry]] = {}
    seen: dict[tuple[Form, int], int] = {}
    for row, k, found in sorted(entries, key=lambda entry: (entry[1], entry[0])):
        form = found.form
        # Kernels of bare convolutions are added, whatever their size, so one row may have several.
        if form.kind == "conv":
            form = replace(form, kernel=0, bias=False)
            groups.setdefault((form, 0), []).append((row, k, found))
            continue
        repeat = seen.get((form, row), 0)
        seen[form, row] = repeat + 1
        groups.setdefault((form, repeat), []).append((row, k, found))
    lanes = []
    for (form, _), group in groups.items():
        group.sort(key=lambda entry: (entry[0], entry[1]))
        if form.kind == "conv":
            form = replace(form, kernel=max(found.form.kernel for _, _, found in group))
        lanes.append(
            Lane(
                form,
                tuple(row for row, _, _ in group),
                tuple(k for _, k, _ in group),
                tuple(zip(*(found.convs for _, _, found in group), strict=True)),
                tuple(zip(*(found.norms for _, _, found in group), strict=True)),
            )
        )
    geometry = _geometry(found.form for _, _, found in entries)
    if isinstance(geometry, str):
        raise ValueError(f"rows of one plan are of one shape, but: {geometry}")
    stride, c_in, c_out = geometry
    rows = tuple(range(1 + max(row for row, _, _ in entries)))
    served = tuple((row, k) for row, k, _ in entries)
    return WidePlan(rows, served, 1, tuple(lanes), stride, c_in, c_out)


def mixture(x: Tensor, plan: WidePlan, mix: Tensor | None, *, update: bool = True) -> list[Tensor]:
    """Returns the output of every row of a plan.

    Args:
        x: ``(N, C, H, W)``.
        plan: What runs.
        mix: ``(T, K)`` as `Executor.run` takes it, or None.
        update: Whether batch norms move their running statistics. The second of two passes over
            one batch must not.

    Shape:
        - Output: T tensors ``(N, C', H', W')``, each a slice of one channels-last tensor
    """
    image = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).contiguous()
    return _Mixture(image, plan, mix, update).outputs()


class _Mixture:
    """One run of a plan; M is the number of output pixels, N * H' * W'."""

    def __init__(self, x: Tensor, plan: WidePlan, mix: Tensor | None, update: bool) -> None:
        self.x, self.plan, self.mix, self.update = x, plan, mix, update
        n, height, width, _ = x.shape
        s = plan.stride
        self.size = (n, -(-height // s), -(-width // s))
        self.n_rows = len(plan.rows)
        self._relu: Tensor | None = None
        self._repeated: dict[int, Tensor] = {}
        self._pooled: dict[tuple[str, int, bool], Tensor] = {}
        self.total: Tensor | None = None  # (M, T, C)
        self.parts: dict[int, list[Tensor]] = {}  # row -> terms (M, C) of lanes that lack rows

    def outputs(self) -> list[Tensor]:
        for lane in self.plan.lanes:
            getattr(self, f"_{lane.form.kind}")(lane)
        found = []
        whole = [None] * self.n_rows if self.total is None else self.total.unbind(1)
        for row, out in enumerate(whole):
            terms = self.parts.get(row, [])
            if out is None and not terms:
                out = self._nothing(row)
            for term in terms:
                out = term if out is None else out + term
            assert out is not None
            found.append(out.reshape(*self.size, -1).permute(0, 3, 1, 2))
        return found

    # What candidates read.

    def relu(self) -> Tensor:
        """``(N, H, W, C)``, computed once."""
        if self._relu is None:
            self._relu = F.relu(self.x)
        return self._relu

    def repeated(self, n: int) -> Tensor:
        """The ReLU n times side by side, ``(N, H, W, n * C)``."""
        if n == 1:
            return self.relu()
        if n not in self._repeated:
            self._repeated[n] = self.relu().repeat(1, 1, 1, n)
        return self._repeated[n]

    def pooled(self, form: Form) -> Tensor:
        """A pool of the input, ``(M, C)``, computed once per kind."""
        key = (form.kind, form.kernel, form.counts_padding)
        if key not in self._pooled:
            image, half = self.x.permute(0, 3, 1, 2), form.kernel // 2
            if form.kind == "max_pool":
                y = F.max_pool2d(image, form.kernel, form.stride, half)
            else:
                y = F.avg_pool2d(
                    image, form.kernel, form.stride, half, count_include_pad=form.counts_padding
                )
            self._pooled[key] = y.permute(0, 2, 3, 1).reshape(-1, y.shape[1])
        return self._pooled[key]

    # One method per kind of form.

    def _zero(self, lane: Lane) -> None:
        return None

    def _identity(self, lane: Lane) -> None:
        self.add_shared(lane, self.x.reshape(-1, self.x.shape[-1]), self.times(lane))

    def _max_pool(self, lane: Lane) -> None:
        self._pool(lane)

    def _avg_pool(self, lane: Lane) -> None:
        self._pool(lane)

    def _pool(self, lane: Lane) -> None:
        y = self.pooled(lane.form)
        if lane.form.norm is None:
            self.add_shared(lane, y, self.times(lane))
            return
        scale = self.coefficients(lane)
        y, times, shift = shared_batch_norm(
            y, lane.norms[0], lane.form.norm, scale, update=self.update
        )
        self.add_shared(lane, y, times, shift)

    def _separable(self, lane: Lane) -> None:
        form, n = lane.form, len(lane.rows)
        assert form.norm is not None
        y = self.repeated(n)
        for step in range(form.steps):
            first, last = step == 0, step == form.steps - 1
            if not first:
                y = F.relu(y).view(*self.size, -1)
            kernels, weights = lane.convs[2 * step], lane.convs[2 * step + 1]
            y = depthwise(
                y, _cat(kernels), stride=form.stride if first else 1, dilation=form.dilation
            )
            y = pointwise(y.reshape(-1, n, y.shape[-1] // n), [conv.weight for conv in weights])
            y = batch_norm(
                y.view(len(y), -1), lane.norms[step], form.norm,
                self.coefficients(lane) if last else None, update=self.update,
            )  # fmt: skip
        self.add(lane, y.view(len(y), n, -1))

    def _relu_conv_norm(self, lane: Lane) -> None:
        assert lane.form.norm is not None
        y = self._convolved(self.relu(), lane)
        scale = self.coefficients(lane)
        y = batch_norm(y, lane.norms[0], lane.form.norm, scale, update=self.update)
        self.add(lane, y.view(len(y), len(lane.rows), -1))

    def _conv_norm_relu(self, lane: Lane) -> None:
        assert lane.form.norm is not None
        y = self._convolved(self.x, lane)
        y = F.relu(batch_norm(y, lane.norms[0], lane.form.norm, None, update=self.update))
        self.add(lane, y.view(len(y), len(lane.rows), -1), self.times(lane))

    def _reduce(self, lane: Lane) -> None:
        assert lane.form.norm is not None
        n, x = len(lane.rows), self.relu()
        # The zeros at the end are read only where a size is odd.
        shifted = F.pad(x, (0, 0, 0, 1, 0, 1))[:, 1::2, 1::2]
        halves = []
        for image, convs in zip((x[:, ::2, ::2], shifted), lane.convs, strict=True):
            y = image.reshape(-1, x.shape[-1]) @ _cat(convs).flatten(1).t()
            halves.append(y.view(len(y), n, -1))
        both = torch.cat(halves, dim=2)
        scale = self.coefficients(lane)
        y = batch_norm(
            both.view(len(both), -1), lane.norms[0], lane.form.norm, scale, update=self.update
        )
        self.add(lane, y.view(len(y), n, -1))

    def _conv(self, lane: Lane) -> None:
        """Adds the kernels of each row, then runs one convolution for all rows."""
        kernels: dict[int, Tensor] = {}
        biases: dict[int, Tensor] = {}
        for row, k, conv in zip(lane.rows, lane.columns, lane.convs[0], strict=True):
            missing = (lane.form.kernel - conv.kernel_size[0]) // 2
            weight, bias = F.pad(conv.weight, [missing] * 4), conv.bias
            if self.mix is not None:
                weight = weight * self.mix[row, k]
                bias = None if bias is None else bias * self.mix[row, k]
            kernels[row] = kernels[row] + weight if row in kernels else weight
            if bias is not None:
                biases[row] = biases[row] + bias if row in biases else bias
        y = _convolution(self.x, torch.cat(list(kernels.values())), lane.form)
        if biases:
            none = next(iter(biases.values())).new_zeros(())
            shifts = [biases.get(row, none).expand(len(kernels[row])) for row in kernels]
            y = y + torch.cat(shifts)
        merged = replace(lane, rows=tuple(kernels))
        self.add(merged, y.view(len(y), len(kernels), -1))

    def _convolved(self, image: Tensor, lane: Lane) -> Tensor:
        """Runs the lane's convolutions side by side, ``(M, n * C')``."""
        return _convolution(image, _cat(lane.convs[0]), lane.form)

    # How terms are added.

    def coefficients(self, lane: Lane) -> Tensor | None:
        """The lane's coefficients, ``(n,)``."""
        if self.mix is None:
            return None
        if lane.rows == tuple(range(self.n_rows)) and len(set(lane.columns)) == 1:
            return self.mix[:, lane.columns[0]]
        places = zip(lane.rows, lane.columns, strict=True)
        return torch.stack([self.mix[row, k] for row, k in places])

    def times(self, lane: Lane) -> Tensor | None:
        """The coefficients as a factor of ``(M, n, C)``, ``(n, 1)``."""
        found = self.coefficients(lane)
        return None if found is None else found.unsqueeze(1)

    def add(self, lane: Lane, y: Tensor, times: Tensor | None = None) -> None:
        """Adds ``(M, n, C)``, times ``(n, 1)``, to the lane's rows."""
        if len(lane.rows) < self.n_rows:
            scaled = y if times is None else y * times
            for i, row in enumerate(lane.rows):
                self.parts.setdefault(row, []).append(scaled[:, i])
        elif self.total is None:
            self.total = y if times is None else y * times
        elif times is None:
            self.total = self.total + y
        else:
            self.total = torch.addcmul(self.total, y, times)

    def add_shared(
        self, lane: Lane, y: Tensor, times: Tensor | None, shift: Tensor | None = None
    ) -> None:
        """Adds ``(M, C)`` times ``(n, C)`` or ``(n, 1)`` plus ``(n, C)`` to the lane's rows."""
        n = len(lane.rows)
        self.add(lane, y.unsqueeze(1) if times is not None else _rows(y, n), times)
        if shift is None:
            return
        if n < self.n_rows:
            for i, row in enumerate(lane.rows):
                self.parts[row].append(shift[i])
        else:
            assert self.total is not None
            self.total = self.total + shift

    def _nothing(self, row: int) -> Tensor:
        """Zeros, which depend on the coefficients as a sum of zeros does."""
        n, height, width = self.size
        channels = self.x.shape[-1] if self.plan.c_out is None else self.plan.c_out
        zeros = self.x.new_zeros(n * height * width, channels)
        return zeros if self.mix is None else zeros * self.mix[row].sum()


def _rows(y: Tensor, n: int) -> Tensor:
    return y.unsqueeze(1).expand(-1, n, -1)


def _convolution(image: Tensor, weight: Tensor, form: Form) -> Tensor:
    """Convolves ``(N, H, W, C)`` to ``(M, C')``, keeping sizes but for the stride."""
    if form.kernel == 1:
        # By a matrix product, also because strided pointwise convolutions of channels-last images
        # are not to be trusted to oneDNN: see runtime/layout.py.
        pixels = image[:, :: form.stride, :: form.stride].reshape(-1, image.shape[-1])
        return pixels @ weight.flatten(1).t()
    padding = form.dilation * (form.kernel // 2)
    y = F.conv2d(image.permute(0, 3, 1, 2), weight, None, form.stride, padding, form.dilation)
    return y.permute(0, 2, 3, 1).reshape(-1, len(weight))


def _cat(convs: Sequence[nn.Conv2d]) -> Tensor:
    return convs[0].weight if len(convs) == 1 else torch.cat([conv.weight for conv in convs])


def _geometry(forms: Iterable[Form]) -> tuple[int, int | None, int | None] | str:
    """Returns stride, channels in and channels out of candidates, or how they contradict."""
    strides, c_in, c_out = set(), set(), set()
    for form in forms:
        strides.add(form.stride)
        c_in.add(form.c_in)
        c_out.add(form.c_out)
    kept = None in c_out  # some candidate gives as many channels as it takes
    c_in.discard(None)
    c_out.discard(None)
    if len(strides) > 1 or len(c_in) > 1 or len(c_out) > 1 or (kept and c_out and c_in != c_out):
        return "the candidates give outputs of different shapes"
    return strides.pop(), next(iter(c_in), None), next(iter(c_out), None)
