"""S1 to S4 have the candidates of their authors, and DARTS takes partial channels."""

from __future__ import annotations

from math import comb

import pytest
import torch

from nas_plugin import RandomMutator, apply_fixed_architecture, search_space, spaces
from nas_plugin.errors import OptionError
from nas_plugin.profiling import count_params
from search_spaces.darts import darts

CELL_INPUTS = comb(2, 2) * comb(3, 2) * comb(4, 2) * comb(5, 2)


@pytest.mark.parametrize(
    ("name", "candidates", "kept"),
    [
        ("darts_s2", ("skipconnect", "sepconv3x3"), 2),
        ("darts_s3", ("none", "skipconnect", "sepconv3x3"), 2),
        ("darts_s4", ("noise", "sepconv3x3"), 2),
    ],
)
def test_every_edge_has_the_candidates_of_its_space(
    name: str, candidates: tuple[str, ...], kept: int
) -> None:
    space = search_space(spaces.get(name)(channels=4, layers=3))
    edges = [c for c in space.values() if c.kind == "layer"]

    assert len(edges) == 28 and all(c.candidates == candidates for c in edges)
    # Eight edges a cell are kept, two cells.
    assert space.size == CELL_INPUTS**2 * kept**16


def test_s1_has_two_candidates_of_its_own_on_every_edge() -> None:
    space = search_space(spaces.get("darts_s1")(channels=4, layers=3))
    edges = [c for c in space.values() if c.kind == "layer"]

    assert len(edges) == 28 and all(len(c.candidates) == 2 for c in edges)
    assert space.size == CELL_INPUTS**2 * 2**16
    # First and last edge of both cells, as the authors' code lists them.
    assert space["normal_n2_p0"].candidates == ("skipconnect", "dilconv3x3")
    assert space["normal_n5_p4"].candidates == ("dilconv3x3", "dilconv5x5")
    assert space["reduce_n2_p0"].candidates == ("maxpool", "avgpool")
    assert space["reduce_n4_p1"].candidates == ("maxpool", "sepconv3x3")
    assert space["reduce_n5_p4"].candidates == ("skipconnect", "dilconv5x5")


@pytest.mark.parametrize("name", ["darts_s1", "darts_s2", "darts_s3", "darts_s4"])
def test_every_space_is_searched_and_retrained(name: str) -> None:
    torch.manual_seed(0)
    model = spaces.get(name)(channels=4, layers=3)
    mutator = RandomMutator(model)
    mutator.reset()
    x = torch.randn(2, 3, 8, 8)
    assert model(x).shape == (2, 10)
    net = spaces.get(name)(channels=4, layers=3, retrain=True)
    assert apply_fixed_architecture(net, mutator.export())(x).shape == (2, 10)


def test_noise_ignores_its_input_and_has_unit_variance() -> None:
    model = spaces.get("darts_s4")(channels=4, layers=3)
    noise = model.cells[0].edges["n2_p0"]["noise"]
    torch.manual_seed(0)
    first = noise(torch.zeros(10, 4, 20, 20))
    torch.manual_seed(0)
    assert torch.equal(noise(torch.ones(10, 4, 20, 20)), first)
    n = first.numel()
    assert abs(float(first.mean())) < 5 / n**0.5 and abs(float(first.var()) - 1) < 8 / n**0.5


def test_darts_with_partial_channels_has_narrow_candidates_and_whole_outputs() -> None:
    torch.manual_seed(0)
    model = darts(channels=8, layers=3, partial=4)
    mutator = RandomMutator(model)
    mutator.reset()
    edge = model.cells[0].edges["n2_p0"]
    assert edge.partial == 4
    assert {p.shape[0] for p in edge["sepconv3x3"].parameters()} == {2}
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 10)
    assert search_space(model) == search_space(darts(channels=8, layers=3))
    with pytest.raises(OptionError, match=r"channels \(6\) must be a multiple of partial \(4\)"):
        darts(channels=6, partial=4)


def test_the_partial_supernet_has_as_many_weights_as_counted_by_hand() -> None:
    with torch.device("meta"):
        net, whole = darts(partial=4), darts()

    def of_edges(c: int, stride: int) -> int:
        """Weights of the eight candidates of an edge; batch norms have none."""
        sep = sum(2 * (k * k * c + c * c) for k in (3, 5))
        dil = sum(k * k * c + c * c for k in (3, 5))
        return sep + dil + (c * c if stride == 2 else 0)

    def of_all(k: int) -> int:
        total, c = 0, 16
        for layer in range(8):
            reduces = layer in (2, 5)
            c = 2 * c if reduces else c
            halving = 8 if reduces else 0
            total += halving * of_edges(c // k, 2) + (14 - halving) * of_edges(c // k, 1)
        return total

    assert count_params(whole) == 1_930_618
    assert count_params(net) == 1_930_618 - of_all(1) + of_all(4)
