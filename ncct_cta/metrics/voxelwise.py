"""Voxelwise errors in HU over a mask."""

from __future__ import annotations

import math

import numpy as np

from ..common.hu import HUWindow
from .case_images import ComparedImages
from .metric import EMPTY_REGION, Metric

NAN = float("nan")


def mean_absolute_error(prediction_hu: np.ndarray, cta_hu: np.ndarray, mask: np.ndarray) -> float:
    """Mean of ``|prediction - CTA|`` over a mask, in HU; NaN where the mask is empty."""
    if not mask.any():
        return NAN
    return float(np.abs(_difference(prediction_hu, cta_hu, mask)).mean(dtype=np.float64))


def error_scores(prediction_hu: np.ndarray, cta_hu: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """``mae_hu``, ``rmse_hu`` and ``bias_hu`` (mean of prediction - CTA) over a mask; NaN where it is empty.

    Args:
        prediction_hu: (X, Y, Z) in HU.
        cta_hu: the truth, same shape.
        mask: boolean, same shape.
    """
    if not mask.any():
        return dict.fromkeys(("mae_hu", "rmse_hu", "bias_hu"), NAN)
    difference = _difference(prediction_hu, cta_hu, mask)
    return {
        "mae_hu": float(np.abs(difference).mean(dtype=np.float64)),
        "rmse_hu": math.sqrt(np.square(difference).mean(dtype=np.float64)),
        "bias_hu": float(difference.mean(dtype=np.float64)),
    }


def psnr(prediction_hu: np.ndarray, cta_hu: np.ndarray, mask: np.ndarray, window: HUWindow) -> float:
    """Peak signal-to-noise ratio ``10 log10(range^2 / MSE)`` in dB over a mask, both images clipped to the range.

    Args:
        prediction_hu: (X, Y, Z) in HU.
        cta_hu: the truth, same shape.
        mask: boolean, same shape.
        window: the range; its width is the peak.

    Returns:
        infinity if both are equal, NaN if the mask is empty.
    """
    if not mask.any():
        return NAN
    prediction, cta = (
        image[mask].clip(window.lower, window.upper).astype(np.float32) for image in (prediction_hu, cta_hu)
    )
    mse = float(np.square(prediction - cta).mean(dtype=np.float64))
    return 10 * math.log10((window.upper - window.lower) ** 2 / mse) if mse else math.inf


def _difference(prediction_hu: np.ndarray, cta_hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return prediction - CTA in the mask's voxels as float32, because int16 would overflow."""
    return prediction_hu[mask].astype(np.float32) - cta_hu[mask]


def _mae(images: ComparedImages, *, region: str) -> float:
    return images.once(_errors, region)["mae_hu"]


def _rmse(images: ComparedImages, *, region: str) -> float:
    return images.once(_errors, region)["rmse_hu"]


def _bias(images: ComparedImages, *, region: str) -> float:
    return images.once(_errors, region)["bias_hu"]


def _errors(images: ComparedImages, region: str) -> dict[str, float]:
    return error_scores(images.prediction, images.case.cta, images.case.masks[region])


def _psnr(images: ComparedImages, *, region: str, window: HUWindow) -> float:
    return psnr(images.prediction, images.case.cta, images.case.masks[region], window)


METRICS = (
    Metric(
        name="{region}_mae_hu",
        compute=_mae,
        title="MAE, {region}",
        short="MAE",
        unit="HU",
        limits=(0, math.inf),
        better="lower",
        meaning="mean absolute error against the CTA",
        missing=EMPTY_REGION,
    ),
    Metric(
        name="{region}_rmse_hu",
        compute=_rmse,
        title="RMSE, {region}",
        short="RMSE",
        unit="HU",
        limits=(0, math.inf),
        better="lower",
        meaning="root mean square error against the CTA: large errors weigh more",
        missing=EMPTY_REGION,
    ),
    Metric(
        name="{region}_bias_hu",
        compute=_bias,
        title="bias, {region}",
        short="bias",
        unit="HU",
        limits=(-math.inf, math.inf),
        better="zero",
        meaning="mean of prediction - CTA: below 0 is too dark",
        missing=EMPTY_REGION,
    ),
    Metric(
        name="{region}_psnr_db_{range}",
        compute=_psnr,
        title="PSNR {range}, {region}",
        short="PSNR",
        unit="dB",
        limits=(0, math.inf),
        better="higher",
        meaning="peak signal-to-noise ratio, in the range given; the same error gives another figure in another range",
        missing=EMPTY_REGION,
    ),
)
