"""Whether a term drowns the others is said once, with the remedy."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from ncct_cta.handlers import BalanceHandler


def epoch(number: int, *pulls: float) -> Any:
    names = ("pull_reconstruction", "pull_gan_g", "pull_feat_match")
    return SimpleNamespace(state=SimpleNamespace(epoch=number, metrics=dict(zip(names, pulls, strict=False))))


@pytest.mark.parametrize(
    ("pulls", "remedy"),
    [
        ((0.1, 1.3, 0.02), "lower discriminator.gan_weight"),
        ((0.1, 0.02, 1.3), "lower discriminator.feat_match_weight"),
        ((1.3, 0.1, 0.02), "raise discriminator.gan_weight"),
    ],
)
def test_the_term_is_named_once_with_what_to_do(pulls, remedy, caplog) -> None:
    handler = BalanceHandler()
    with caplog.at_level(logging.WARNING):
        handler(epoch(1, *pulls))
        handler(epoch(2, *pulls))
    (record,) = caplog.records
    assert remedy in record.getMessage()
    assert "1.3 beside 0.12" in record.getMessage()


@pytest.mark.parametrize("pulls", [(), (1.0, 0.5, 0.5), (9.0, 0.5, 0.5), (float("nan"), 1.0, 0.0)])
def test_nothing_is_said_where_all_count_or_nothing_is_known(pulls, caplog) -> None:
    BalanceHandler()(epoch(1, *pulls))
    assert not caplog.records
