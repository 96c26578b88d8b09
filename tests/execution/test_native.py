"""The native executor against the modules' own forward, in float64, over sizes at random."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.execution import NativeExecutor, Offer, build
from nas_plugin.operations import FactorizedReduce, ReLUConvBN, Zero, avg_pool, max_pool

pytestmark = pytest.mark.skipif(build.why_not() is not None, reason=str(build.why_not()))

LAST = torch.channels_last
KINDS = (
    "zero", "skip", "max", "avg", "sep", "dil", "conv", "conv-norm-relu", "bare", "three steps",
)  # fmt: skip


def separable(c_in, c_out, kernel, stride, dilation, affine):
    padding = dilation * (kernel - 1) // 2
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(c_in, c_in, kernel, stride, padding, dilation, groups=c_in, bias=False),
        nn.Conv2d(c_in, c_out, 1, bias=False),
        nn.BatchNorm2d(c_out, affine=affine),
    )


def candidate(kind: str, c_in: int, c_out: int, stride: int, draw: random.Random) -> nn.Module:
    affine, kernel = draw.random() < 0.5, draw.choice([1, 3, 3, 5, 7])
    if c_in != c_out and kind in ("zero", "skip", "max", "avg"):
        kind = "conv"
    if kind == "zero":
        return Zero(stride)
    if kind == "skip":
        if stride == 1:
            return nn.Identity()
        return FactorizedReduce(c_in, c_out, affine=affine) if stride == 2 else Zero(stride)
    if kind in ("max", "avg"):
        return (max_pool if kind == "max" else avg_pool)(c_in, stride, norm=draw.random() < 0.6)
    if kind == "sep":
        first = separable(c_in, c_out, kernel, stride, 1, affine)
        return nn.Sequential(first, separable(c_out, c_out, kernel, 1, 1, affine))
    if kind == "three steps":
        steps = [separable(c_in, c_out, kernel, stride, 1, affine)]
        return nn.Sequential(*steps, *(separable(c_out, c_out, kernel, 1, 1, affine) for _ in "ab"))
    if kind == "dil":
        return separable(c_in, c_out, kernel, stride, draw.choice([2, 2, 3]), affine)
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
    if kind == "bare":
        return conv
    norm = nn.BatchNorm2d(c_out, affine=affine, eps=draw.choice([1e-5, 1e-3]))
    norm.momentum = draw.choice([0.1, 0.3])
    return nn.Sequential(nn.ReLU(), conv, norm) if kind == "conv" else nn.Sequential(
        conv, norm, nn.ReLU()
    )  # fmt: skip


@dataclass
class Case:
    """T rows of candidates on one input, of random sizes and modes."""

    x: Tensor
    mix: Tensor
    rows: list[list[nn.Module]]
    used: list[int]  # rows whose output the loss reads

    @property
    def modules(self) -> list[nn.Module]:
        return [module for row in self.rows for module in row]

    @property
    def leaves(self) -> list[Tensor]:
        weights = [p for module in self.modules for p in module.parameters()]
        return [leaf for leaf in (self.x, self.mix, *weights) if leaf.requires_grad]


def make_case(seed: int, **fixed) -> Case:
    draw = random.Random(seed)
    torch.manual_seed(seed)
    c_in = fixed.get("c_in", draw.randint(1, 70))
    c_out = fixed.get("c_out", c_in if draw.random() < 0.8 else draw.randint(1, 70))
    stride = fixed.get("stride", draw.choice([1, 1, 1, 2, 2, 3]))
    n, height, width = (
        fixed.get(name, draw.randint(*bounds))
        for name, bounds in (("n", (1, 9)), ("height", (1, 13)), ("width", (1, 13)))
    )
    pixels = -(-height // stride) * -(-width // stride)
    # The variance of two values amplifies rounding beyond what is compared here.
    n = max(n, -(-8 // pixels))
    if c_in == 1 and stride == 2:
        c_in = c_out = 2  # half a reduction would have no channel
    kinds = fixed.get("kinds") or draw.sample(KINDS, draw.randint(1, 5))
    first = [candidate(kind, c_in, c_out, stride, draw) for kind in kinds]
    rows = [first] + [copy.deepcopy(first) for _ in range(draw.randint(0, 3))]
    if draw.random() < 0.3:  # one row of another structure
        others = draw.sample(KINDS, draw.randint(1, 4))
        rows.append([candidate(kind, c_in, c_out, stride, draw) for kind in others])
    training, frozen = draw.random() < 0.7, draw.random() < 0.15
    for module in (m for row in rows for m in row):
        module.double().train(training)
        for parameter in module.parameters():
            nn.init.normal_(parameter)
            parameter.requires_grad_(not frozen and draw.random() < 0.95)
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.5, 2)
        if draw.random() < 0.2:
            module.to(memory_format=LAST)
    x = torch.randn(n, c_in, height, width, dtype=torch.float64)
    if draw.random() < 0.5:
        x = x.contiguous(memory_format=LAST)
    x.requires_grad_(draw.random() < 0.8)
    most = max(len(row) for row in rows)
    mix = torch.randn(len(rows), most, dtype=torch.float64, requires_grad=draw.random() < 0.8)
    used = [t for t in range(len(rows)) if draw.random() < 0.8] or [0]
    return Case(x, mix, rows, used)


def eager(case: Case) -> list[Tensor]:
    outs = []
    for t, row in enumerate(case.rows):
        terms = [case.mix[t, k] * module(case.x) for k, module in enumerate(row)]
        outs.append(sum(terms[1:], terms[0]))
    return outs


def native(case: Case) -> list[Tensor]:
    executor = NativeExecutor()
    offers = [
        Offer((t, k), module) for t, row in enumerate(case.rows) for k, module in enumerate(row)
    ]
    planned = executor.plan(offers, mixed=True)
    assert not planned.refused, planned.refused
    outs: list[Tensor | None] = [None] * len(case.rows)
    for plan in planned.plans:
        assert executor.refuses(case.x, plan) is None
        for t, out in zip(plan.rows, executor.run(case.x, plan, case.mix[list(plan.rows)]),
                          strict=True):  # fmt: skip
            assert outs[t] is None
            outs[t] = out
    return outs


def results(case: Case, forward, *, twice: bool = False) -> list[Tensor | None]:
    """Outputs, running statistics, gradients and, where `twice`, gradients of the gradients."""
    generator = torch.Generator().manual_seed(5)
    outs = forward(case)
    kept = [out.detach() for out in outs]
    kept += [b.detach().clone() for module in case.modules for b in module.buffers()]
    loss = torch.zeros((), dtype=torch.float64)
    for t in case.used:
        weight = torch.randn(outs[t].shape, generator=generator, dtype=torch.float64)
        loss = loss + (outs[t] * weight * (1 + outs[t])).sum()
    if not loss.requires_grad:
        return [*kept, *[None] * len(case.leaves) * (1 + twice)]
    first = torch.autograd.grad(loss, case.leaves, create_graph=twice, allow_unused=True)
    kept += [g if g is None else g.detach() for g in first]
    if twice:
        again = sum((g**2).sum() for g in first if g is not None and g.requires_grad)
        differs = isinstance(again, Tensor)
        kept += (
            torch.autograd.grad(again, case.leaves, allow_unused=True)
            if differs
            else [None for _ in case.leaves]
        )
    return kept


def assert_equal(expected: list[Tensor | None], found: list[Tensor | None]) -> None:
    assert len(expected) == len(found)
    for a, b in zip(expected, found, strict=True):
        if a is None or b is None:
            # What no output depends on may be None in one and zero in the other.
            assert all(t is None or not t.any() for t in (a, b))
            continue
        assert a.shape == b.shape
        assert float((a - b).abs().max()) <= 1e-11 * (1 + float(a.abs().max()))


def check(seed: int, *, twice: bool = False, **fixed) -> None:
    case = make_case(seed, **fixed)
    twin = Case(case.x, case.mix, copy.deepcopy(case.rows), case.used)
    assert_equal(results(case, eager, twice=twice), results(twin, native, twice=twice))


@pytest.mark.parametrize("seed", range(30))
def test_random_sizes_equal_the_modules(seed):
    check(seed)


@pytest.mark.parametrize("seed", range(100, 108))
def test_second_derivatives_equal_the_modules(seed):
    check(seed, twice=True, height=5, width=6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1400))
def test_many_random_sizes_equal_the_modules(seed):
    check(seed, twice=seed % 4 == 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [1, 2])
def test_every_form_equals_the_module(kind, stride):
    check(7, kinds=[kind], stride=stride, c_in=19, c_out=19, height=9, width=8, n=3)


@pytest.mark.parametrize("channels", [1, 2, 4, 7, 8, 15, 16, 17, 33, 64])
def test_any_number_of_channels(channels):
    check(3, kinds=["sep", "dil", "conv", "max", "skip"], c_in=channels, c_out=channels, stride=1)


def test_maps_that_are_wider_than_a_block_of_pixels():
    check(11, kinds=["sep", "dil", "conv", "avg"], c_in=5, c_out=5, height=3, width=37, n=2)


def run_at(threads: int, seed: int) -> list[Tensor | None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return results(make_case(seed, n=5), native)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("seed", [1, 4, 8])
def test_threads_agree_to_rounding_and_each_repeats_to_the_bit(seed):
    one, two, three = (run_at(threads, seed) for threads in (1, 2, 3))
    assert_equal(one, two)
    assert_equal(one, three)
    for threads, before in ((1, one), (2, two)):
        for a, b in zip(before, run_at(threads, seed), strict=True):
            assert a is b is None or torch.equal(a, b)


def test_floats_are_as_near_to_the_truth_as_the_modules_are():
    case = make_case(2, kinds=["sep", "dil", "conv", "max", "avg", "skip"], c_in=24, c_out=24,
                     stride=1, height=12, width=12, n=6)  # fmt: skip
    truth = results(case, eager)

    def error(forward) -> float:
        single = make_case(2, kinds=["sep", "dil", "conv", "max", "avg", "skip"], c_in=24,
                           c_out=24, stride=1, height=12, width=12, n=6)  # fmt: skip
        for module in single.modules:
            module.float()
        single.x = single.x.detach().float().requires_grad_(case.x.requires_grad)
        single.mix = single.mix.detach().float().requires_grad_(case.mix.requires_grad)
        found = results(single, forward)
        return max(
            float((a - b).abs().max() / (1e-3 + a.abs().max()))
            for a, b in zip(truth, found, strict=True)
            if a is not None and b is not None
        )

    assert error(native) <= 3 * error(eager) + 1e-6


def test_only_what_is_asked_for_is_computed_and_is_the_same():
    case = make_case(21, kinds=["sep", "conv", "skip"], c_in=8, c_out=8, stride=1)
    case.x.requires_grad_(), case.mix.requires_grad_()
    for module in case.modules:
        module.requires_grad_()
    outs = native(case)
    loss = sum((out**2).sum() for out in outs)
    together = torch.autograd.grad(loss, case.leaves, retain_graph=True, allow_unused=True)
    for leaf, expected in zip(case.leaves, together, strict=True):
        (alone,) = torch.autograd.grad(loss, leaf, retain_graph=True, allow_unused=True)
        assert expected is alone is None or torch.equal(expected, alone)
    loss.backward()
    for leaf, expected in zip(case.leaves, together, strict=True):
        assert expected is leaf.grad is None or torch.equal(expected, leaf.grad)


def planned(module: nn.Module):
    return NativeExecutor().plan([Offer((0, 0), module)], mixed=False)


def test_a_preprocess_runs_without_a_mix_and_changes_the_channels():
    for kind, c_in, c_out in (
        (ReLUConvBN, 6, 10), (FactorizedReduce, 6, 10), (FactorizedReduce, 5, 7),
    ):  # fmt: skip
        module = kind(c_in, c_out).double()
        twin = copy.deepcopy(module)
        x = torch.randn(3, c_in, 7, 5, dtype=torch.float64, requires_grad=True)
        (plan,) = planned(twin).plans
        (out,) = NativeExecutor().run(x, plan, None)
        expected = module(x)
        assert torch.allclose(out, expected, atol=1e-12)
        ours = torch.autograd.grad((out**2).sum(), [x, *twin.parameters()])
        theirs = torch.autograd.grad((expected**2).sum(), [x, *module.parameters()])
        for a, b in zip(ours, theirs, strict=True):
            assert torch.allclose(a, b, atol=1e-10)
        for a, b in zip(twin.buffers(), module.buffers(), strict=True):
            assert torch.allclose(a, b, atol=1e-12)


def test_norms_that_use_the_batch_without_updating_are_served():
    module = ReLUConvBN(4, 4, 3).double()
    module[2].track_running_stats = False
    before = module[2].running_mean.clone()
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    (plan,) = planned(module).plans
    (out,) = NativeExecutor().run(x, plan, None)
    assert torch.allclose(out, module(x), atol=1e-12)
    assert torch.equal(before, module[2].running_mean)


def test_one_value_per_channel_is_the_error_that_torch_gives():
    module = ReLUConvBN(4, 4).double()
    (plan,) = planned(module).plans
    x = torch.randn(1, 4, 1, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        NativeExecutor().run(x, plan, None)


def test_weights_of_another_type_than_the_input_are_an_error():
    (plan,) = planned(ReLUConvBN(4, 4)).plans
    with pytest.raises(RuntimeError, match="should be the same"):
        NativeExecutor().run(torch.randn(2, 4, 3, 3, dtype=torch.float64), plan, None)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Conv2d(3, 3, 3, padding=1), "bias"),
        (nn.Sequential(nn.ReLU(), nn.Conv2d(3, 3, 3, padding=2, dilation=2, bias=False),
                       nn.BatchNorm2d(3)), "dilation"),
        (nn.Sigmoid(), "no known form"),
    ],
)  # fmt: skip
def test_what_is_not_served_has_a_reason(module, reason):
    found = planned(module)
    assert not found.plans and reason in found.refused[0, 0]


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (torch.randn(2, 4, 3, 3, dtype=torch.bfloat16), "bfloat16"),
        (torch.randn(2, 5, 3, 3), "4 channels"),
        (torch.empty(2, 4, 3, 3, device="meta"), "meta"),
    ],
)
def test_inputs_that_are_not_served_are_refused(x, reason):
    (plan,) = planned(ReLUConvBN(4, 4)).plans
    assert reason in str(NativeExecutor().refuses(x, plan))


def test_weights_are_read_anew_on_every_call():
    module = ReLUConvBN(3, 3).double().eval()
    (plan,) = planned(module).plans
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    NativeExecutor().run(x, plan, None)
    module[1].weight.data = torch.randn(3, 3, 1, 1, dtype=torch.float64)
    (out,) = NativeExecutor().run(x, plan, None)
    assert torch.allclose(out, module(x), atol=1e-12)


def test_first_of_equal_maxima_gets_the_gradient():
    module = max_pool(3, norm=False)
    x = torch.randint(0, 2, (2, 3, 6, 6)).double().requires_grad_()
    (plan,) = planned(module).plans
    (out,) = NativeExecutor().run(x, plan, None)
    weight = torch.randn(out.shape, dtype=torch.float64)
    (ours,) = torch.autograd.grad((out * weight).sum(), x)
    (theirs,) = torch.autograd.grad((module(x) * weight).sum(), x)
    assert torch.allclose(ours, theirs, atol=1e-12)


def test_nan_in_the_input_reaches_the_maximum():
    module = max_pool(3, norm=False)
    x = torch.randn(1, 3, 5, 5)
    x[0, 1, 2, 2] = float("nan")
    (plan,) = planned(module).plans
    (out,) = NativeExecutor().run(x, plan, None)
    assert torch.equal(out.isnan(), module(x).isnan())


def test_a_module_that_is_two_candidates_gets_its_second_derivatives_once():
    conv = ReLUConvBN(3, 3, affine=False).double()[1]
    case = Case(
        torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True),
        torch.randn(1, 2, dtype=torch.float64, requires_grad=True),
        [[conv, conv]],
        [0],
    )
    assert_equal(results(case, eager, twice=True), results(case, native, twice=True))


def test_second_derivatives_are_those_of_the_weights_that_ran():
    module = ReLUConvBN(3, 3).double()
    (plan,) = planned(module).plans
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    lent = torch.randn(3, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    moved = lent * 2
    grads = []
    for native_runs in (False, True):
        own = module[1]._parameters["weight"]
        module[1]._parameters["weight"] = moved
        out = NativeExecutor().run(x, plan, None)[0] if native_runs else module(x)
        module[1]._parameters["weight"] = own
        (first,) = torch.autograd.grad((out**3).sum(), lent, create_graph=True)
        grads += [first, *torch.autograd.grad((first**2).sum(), lent, retain_graph=True)]
    assert torch.allclose(grads[0], grads[2]) and torch.allclose(grads[1], grads[3])
