"""SNAS, FBNet, DiDARTS: the coefficients are relaxed draws; gradients are those written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nas_plugin.choice import InputChoice
from nas_plugin.errors import OptionError
from nas_plugin.mutators import DidartsMutator, FbnetMutator, SnasMutator
from tests.mutators.small_net import EVERY, SmallNet, compared, gumbel, prepared, softmax


@pytest.mark.parametrize("made", [SnasMutator, FbnetMutator, DidartsMutator])
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_coefficients_and_gradient_are_those_of_the_formula(made: type, progress: float) -> None:
    net = SmallNet()
    mutator = made(net, scale=1.0, tau_start=3.0, tau_end=0.7)
    logits, generator = prepared(mutator)
    mutator.start_epoch(progress)
    mutator.reset()

    linear = 3.0 + progress * (0.7 - 3.0)
    tau = 3.0 * (0.7 / 3.0) ** progress if made is FbnetMutator else linear
    mixes = softmax((logits.log_softmax(dim=1) + gumbel(generator, 3, 3)) / tau)
    compared(net, mutator, net.written_out(tuple(mixes), EVERY), logits)


def test_temperatures_are_those_of_the_papers() -> None:
    snas, fbnet = SnasMutator(SmallNet()), FbnetMutator(SmallNet())
    snas.start_epoch(1.0)
    fbnet.start_epoch(1.0)

    assert (snas.tau_start, snas.tau) == (1.0, pytest.approx(0.03))
    # 90 epochs, each multiplies by exp(-0.045).
    assert fbnet.tau_start == 5.0
    assert fbnet.tau == pytest.approx(5.0 * math.exp(-0.045 * 89), rel=0.02)


def test_the_mean_of_the_coefficients_is_the_softmax_as_the_temperature_falls() -> None:
    mutator = SnasMutator(SmallNet(), scale=1.0, tau_start=0.01, tau_end=0.01)
    logits, _ = prepared(mutator)
    n = 4000
    with torch.no_grad():
        mean = torch.stack([mutator.relax(mutator.alphas) for _ in range(n)]).mean(dim=0)

    # Five standard errors of a share, and the bias of a temperature that is not 0.
    assert float((mean - softmax(logits.detach())).abs().max()) < 5 * 0.5 / math.sqrt(n) + 0.01


def test_a_choice_of_two_inputs_is_the_sum_of_two_softmaxes_each_over_what_is_left() -> None:
    mutator = SnasMutator(nn.ModuleList([InputChoice(4, n_chosen=2, key="two")]), scale=1.0)
    logits, generator = prepared(mutator)
    mutator.start_epoch(0.0)
    mutator.reset()

    noisy = logits[0] + gumbel(generator, 1, 4)[0]
    first = noisy.softmax(0)
    second = (noisy + (1 - first).log()).softmax(0)
    mix = mutator.binding.decisions["two"].mix
    assert mix is not None
    assert torch.allclose(mix, first + second, rtol=1e-12)
    assert float(mix.detach().sum()) == pytest.approx(2.0)


def test_gates_of_any_number_are_binary_concrete() -> None:
    mutator = SnasMutator(nn.ModuleList([InputChoice(3, key="any")]), scale=1.0)
    logits, generator = prepared(mutator)
    mutator.start_epoch(0.5)
    mutator.reset()

    gumbel(generator, 1, 3)  # the draw of rows that choose a number
    logistic = gumbel(generator, 1, 3) - gumbel(generator, 1, 3)
    expected = torch.sigmoid((logits + logistic) / 0.515)[0]
    mix = mutator.binding.decisions["any"].mix
    assert mix is not None and torch.allclose(mix, expected, rtol=1e-12)


@pytest.mark.parametrize("taus", [(1.0, 2.0), (1.0, 0.0), (1.0, -1.0)])
def test_a_temperature_that_does_not_fall_is_refused(taus: tuple[float, float]) -> None:
    with pytest.raises(OptionError, match=r"tau_end must be in \(0, tau_start = 1.0\]"):
        SnasMutator(SmallNet(), tau_start=taus[0], tau_end=taus[1])
