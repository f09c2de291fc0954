"""A scan's own noise: its strength in each place and its spectrum, and fresh noise of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from .local import local_mean

REACH = 12  # voxels: noise further apart in a slice is taken as independent
Z_REACH = 3
MOST_SLICES = 48  # enough for the spectrum; more take time
TREND_MM = 6.0  # noise is what differs from the tissue's mean within this
STRENGTH_MM = (20.0, 60.0)  # how slowly the noise's strength changes with the place
OUTLIER = 4.0  # standard deviations: a voxel beyond them shows an edge, not noise


@dataclass(frozen=True)
class ScanNoise:
    """The noise of a scan.

    Args:
        strength_hu: (X, Y, Z) float16, standard deviation in HU.
        missing_hu: (X, Y, Z) float16, what blood lacks to muscle's standard deviation.
        kernel: (2 ``REACH`` + 1,) * 2, what makes white noise the scan's within a slice; of unit energy.
        through: (2 ``Z_REACH`` + 1,), the same from slice to slice.
    """

    strength_hu: np.ndarray
    missing_hu: np.ndarray
    kernel: np.ndarray
    through: np.ndarray

    def fresh(self, random: np.random.Generator) -> np.ndarray:
        """Noise of the scan's spectrum and unit variance, (X, Y, Z) float32."""
        shape = self.strength_hu.shape
        padded = [fft.next_fast_len(n + 2 * REACH, real=True) for n in shape[:2]]
        transfer = fft.rfft2(self.kernel.astype(np.float32), padded)
        noise = np.empty(shape, np.float32)
        for z in range(shape[2]):
            white = random.standard_normal(padded, np.float32)
            noise[..., z] = fft.irfft2(fft.rfft2(white) * transfer, padded)[: shape[0], : shape[1]]
        return ndimage.convolve1d(noise, self.through, axis=2, mode="wrap", output=np.float32)


def measure_noise(hu: np.ndarray, muscle: np.ndarray, blood: np.ndarray, spacing: Sequence[float]) -> ScanNoise:
    """Measure a scan's noise where its tissue is even.

    The autocorrelation of the even tissue's deviations from its local mean, within the slice and from slice to slice;
    a filter of the square root of its spectrum gives white noise the same (Wiener-Khinchin).

    Args:
        hu: (X, Y, Z) HU.
        muscle: even soft tissue, without edges; bool.
        blood: even blood, likewise.
        spacing: voxel edges in mm.
    """
    flat, residual = np.zeros(hu.shape, bool), np.zeros(hu.shape, np.float32)
    variances = []
    for mask in (muscle, blood):  # each from its own mean: beside each other they differ by the contrast
        away = hu[mask] - local_mean(hu, mask, spacing, (TREND_MM,), 0.0, mask)
        spread = max(spread_of(away) if away.size else 0.0, 1.0)
        near = np.abs(away) < OUTLIER * spread
        inside, squares = np.zeros(hu.shape, bool), np.zeros(hu.shape, np.float32)
        inside[mask], squares[mask], residual[mask] = near, away**2, away * near
        variances.append(local_mean(squares, inside, spacing, STRENGTH_MM, spread**2))
        flat |= inside
    return ScanNoise(
        np.sqrt(variances[0] if muscle.any() else variances[1]).astype(np.float16),
        (np.sqrt(np.maximum(variances[0] - variances[1], 0)) * bool(muscle.any() and blood.any())).astype(np.float16),
        _filter(_in_plane(residual, flat)),
        _filter(_through(residual, flat)),
    )


def spread_of(deviations: np.ndarray) -> float:
    """The standard deviation of normal deviations from 0, by their median size: edges among them hardly count."""
    return 1.4826 * float(np.median(np.abs(deviations)))


def _in_plane(residual: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Autocorrelation within the slices, (2 ``REACH`` + 1,) * 2, 1 at its centre."""
    step = max(1, residual.shape[2] // MOST_SLICES)
    size = [fft.next_fast_len(n + REACH, real=True) for n in residual.shape[:2]]
    products, pairs = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for z in range(0, residual.shape[2], step):
        products += fft.irfft2(np.abs(fft.rfft2(residual[..., z], size)) ** 2, size)
        pairs += fft.irfft2(np.abs(fft.rfft2(flat[..., z].astype(np.float32), size)) ** 2, size)
    lags = np.arange(-REACH, REACH + 1)
    correlation = products[np.ix_(lags, lags)] / np.maximum(pairs[np.ix_(lags, lags)], 1.0)
    return _tapered(correlation)


def _through(residual: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Autocorrelation from slice to slice, (2 ``Z_REACH`` + 1,), 1 at its centre."""
    lags = range(min(Z_REACH, residual.shape[2] - 1) + 1)
    half = np.zeros(Z_REACH + 1)
    for lag in lags:
        end = residual.shape[2] - lag
        pairs = np.count_nonzero(flat[..., :end] & flat[..., lag:])
        half[lag] = np.vdot(residual[..., :end], residual[..., lag:]) / max(pairs, 1)
    return _tapered(np.concatenate([half[:0:-1], half]))


def _tapered(correlation: np.ndarray) -> np.ndarray:
    centre = correlation[tuple(n // 2 for n in correlation.shape)]
    if not centre > 0:  # no even tissue, or no noise: white
        correlation = np.zeros_like(correlation)
        correlation[tuple(n // 2 for n in correlation.shape)] = centre = 1.0
    for axis, n in enumerate(correlation.shape):
        taper = np.hanning(n + 2)[1:-1]
        correlation = correlation * np.expand_dims(taper, [other for other in range(correlation.ndim) if other != axis])
    return correlation / centre


def _filter(correlation: np.ndarray) -> np.ndarray:
    """The symmetric filter of unit energy whose autocorrelation is the given one."""
    spectrum = fft.fftn(fft.ifftshift(correlation)).real
    kernel = fft.fftshift(fft.ifftn(np.sqrt(np.maximum(spectrum, 0))).real)
    return kernel / np.sqrt((kernel**2).sum())
