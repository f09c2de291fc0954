from __future__ import annotations

import math

import pytest
import torch

from ncct_cta.metrics.term_mean import TermMean


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan"), None])
def test_only_finite_values_count(value: float | None) -> None:
    mean = TermMean("gnorm_G")
    for output in (1.0, value, torch.tensor(4.0)):
        mean.update(output)
    assert mean.compute() == 2.5


def test_the_mean_of_nothing_is_nan() -> None:
    mean = TermMean("gnorm_G")
    mean.update(float("inf"))
    assert math.isnan(mean.compute())
