from __future__ import annotations

import numpy as np
import pytest
import torch

from nas_plugin.experiment.metrics import MetricError, parse_metrics


@pytest.mark.parametrize(
    ("reported", "metrics"),
    [
        (0.5, {"default": 0.5}),
        (3, {"default": 3}),
        (np.float32(0.5), {"default": 0.5}),
        (torch.tensor(0.5), {"default": 0.5}),
        (np.array(2), {"default": 2}),
        ({"default": 0.5, "params": np.int64(10)}, {"default": 0.5, "params": 10}),
    ],
)
def test_finite_numbers_are_taken_from_everywhere(reported, metrics):
    parsed = parse_metrics(reported)
    assert parsed == metrics
    assert all(type(value) in (int, float) for value in parsed.values())


@pytest.mark.parametrize(
    ("reported", "reason"),
    [
        (float("nan"), "not_a_number"),
        (float("inf"), "not_a_number"),
        (-float("inf"), "not_a_number"),
        (torch.tensor(float("nan")), "not_a_number"),
        ({"default": 0.5, "loss": float("nan")}, "not_a_number"),
        ("0.5", "invalid_result"),
        ([0.5], "invalid_result"),
        (torch.tensor([0.5]), "invalid_result"),
        (True, "invalid_result"),
        (None, "invalid_result"),
        ({}, "invalid_result"),
        ({"accuracy": 0.5}, "invalid_result"),
        ({"default": "0.5"}, "invalid_result"),
        ({1: 0.5, "default": 1}, "invalid_result"),
    ],
)
def test_all_else_is_an_error_with_its_reason(reported, reason):
    with pytest.raises(MetricError) as caught:
        parse_metrics(reported)
    assert caught.value.reason == reason
