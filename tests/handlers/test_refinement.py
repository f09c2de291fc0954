"""The log says in words when G2 is worse than the G it refines."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from ncct_cta.common import keys
from ncct_cta.handlers import RefinementHandler


def said(caplog: pytest.LogCaptureFixture, **metrics: float) -> list[logging.LogRecord]:
    with caplog.at_level(logging.INFO, logger="ncct_cta"):
        RefinementHandler(refine=True)(SimpleNamespace(state=SimpleNamespace(epoch=3, metrics=metrics)))
    return caplog.records


def test_both_errors_are_logged_and_a_worse_g2_is_named(caplog: pytest.LogCaptureFixture) -> None:
    errors = {keys.COARSE_MAE_HU: 25.1, keys.VAL_MAE_HU: 55.6}
    errors |= {keys.COARSE_VESSEL_MAE_HU: 200.0, keys.VAL_VESSEL_MAE_HU: 190.0}
    info, warning = said(caplog, **errors)
    assert "body 25.1 and 55.6, vessels 200.0 and 190.0" in info.getMessage()
    assert "epoch 3: G2 is worse than the G it refines in body;" in warning.getMessage()


def test_a_better_g2_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    (info,) = said(caplog, **{keys.COARSE_MAE_HU: 25.1, keys.VAL_MAE_HU: 25.0})
    assert info.levelno == logging.INFO


def test_an_epoch_without_validation_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    assert said(caplog) == []
