"""All scores of one case: what depends on NCCT, CTA and masks alone is computed once, for any number of predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import ndimage

from ..common.hu import AIR_HU, HUWindow
from ..common.keys import BODY, LUNG, VESSEL
from .regions import NONVESSEL, body_mask, bright_without_contrast, named_regions, thresholded_vessels, tissue_beside
from .similarity import SYNTHRAD_RANGE, TAPS, ms_ssim, range_name, ssim_means
from .vessels import (
    NAN,
    centreline,
    centreline_dice,
    contrast_to_noise_ratio,
    dice,
    enhancement_recovery,
    enhancement_recovery_spread,
    high_frequency_energy,
    ratio,
)
from .voxelwise import error_scores, psnr


class Scorer:
    """Scores predictions of one case.

    Everything is taken in the box of the body, with a margin that SSIM's windows need, so that the air around costs
    nothing. SSIM's windows see one and the same air there in both images, so that no score depends on it, nor on a
    table in one of them.

    Args:
        ncct_hu: (X, Y, Z) in HU, Z from foot to head.
        cta_hu: the truth, same shape.
        lung: lung mask, same shape; None: scores in the lung are n/a (NaN).
        vessel: vessel mask, same shape; None: scores in vessels, and in the body without them, are n/a.
        spacing: voxel edges in mm.
        window: the range of PSNR and SSIM beside SynthRAD's.
    """

    def __init__(
        self,
        ncct_hu: np.ndarray,
        cta_hu: np.ndarray,
        *,
        lung: np.ndarray | None,
        vessel: np.ndarray | None,
        spacing: Sequence[float],
        window: HUWindow,
    ) -> None:
        self.spacing = spacing
        self.windows = tuple(dict.fromkeys((SYNTHRAD_RANGE, window)))
        body = body_mask(ncct_hu, spacing)
        masks = [body, *(np.zeros_like(body) if mask is None else mask > 0 for mask in (lung, vessel))]
        self._box = _box_around(masks)
        self.ncct, self.cta = self.cut(ncct_hu), self.cut(cta_hu)
        self.masks = named_regions(*(self.cut(mask) for mask in masks))
        if vessel is None:  # where vessels are isn't known, so neither is where there are none
            self.masks[NONVESSEL] = self.masks[VESSEL]
        self._prepare()

    def _prepare(self) -> None:
        """What the CTA and the NCCT alone decide."""
        body, lung, vessel = (self.masks[name] for name in (BODY, LUNG, VESSEL))
        self._cta_in_air = self._in_air(self.cta)
        self._beside = tissue_beside(vessel, self.ncct, lung | ~body, self.spacing)
        self._cta_cnr = contrast_to_noise_ratio(self.cta, vessel, self._beside)
        self._bright = bright_without_contrast(self.ncct, self.spacing)
        self._cta_vessels = thresholded_vessels(self.cta, body, self._bright, self.spacing)
        self._cta_centreline = centreline(self._cta_vessels)
        self._lung_vessels = lung_vessel_shell(self.masks)
        self._cta_energy = high_frequency_energy(self.cta, self._lung_vessels)

    def __call__(self, prediction_hu: np.ndarray) -> dict[str, float]:
        """All scores of a prediction (X, Y, Z) in HU on the case's grid, by column; NaN: n/a."""
        prediction = self.cut(prediction_hu)
        return {name: value for part in self.parts().values() for name, value in part(prediction).items()}

    def parts(self) -> Mapping[str, Callable[[np.ndarray], dict[str, float]]]:
        """The scores in groups, each a function of a prediction cut to the body's box (see ``cut``)."""
        return {
            "MAE, RMSE, bias": self._errors,
            "PSNR": self._psnr,
            "SSIM": self._ssim,
            "MS-SSIM": self._ms_ssim,
            "enhancement recovery": self._enhancement,
            "contrast to noise": self._contrast,
            "vessel overlap": self._overlap,
            "sharpness": self._sharpness,
        }

    def cut(self, image: np.ndarray) -> np.ndarray:
        """An image of the case's grid in the box that scores are taken in, contiguous."""
        return np.ascontiguousarray(image[self._box])

    def _errors(self, prediction: np.ndarray) -> dict[str, float]:
        return {
            f"{region}_{name}": value
            for region, mask in self.masks.items()
            for name, value in error_scores(prediction, self.cta, mask).items()
        }

    def _psnr(self, prediction: np.ndarray) -> dict[str, float]:
        return {
            f"{region}_psnr_db_{range_name(window)}": psnr(prediction, self.cta, mask, window)
            for region, mask in self.masks.items()
            for window in self.windows
        }

    def _ssim(self, prediction: np.ndarray) -> dict[str, float]:
        images = self._in_air(prediction), self._cta_in_air
        return {
            f"{region}_ssim_{range_name(window)}": value
            for window in self.windows
            for region, value in ssim_means(*images, self.masks, window).items()
        }

    def _ms_ssim(self, prediction: np.ndarray) -> dict[str, float]:
        images = self._in_air(prediction), self._cta_in_air
        known = self.masks[BODY].any()
        return {
            f"body_msssim_{range_name(window)}": ms_ssim(*images, window) if known else NAN for window in self.windows
        }

    def _in_air(self, image: np.ndarray) -> np.ndarray:
        """The body in nothing but air."""
        return np.where(self.masks[BODY], image, AIR_HU)

    def _enhancement(self, prediction: np.ndarray) -> dict[str, float]:
        images = prediction, self.ncct, self.cta, self.masks[VESSEL]
        return {
            "enhancement_recovery": enhancement_recovery(*images),
            "enhancement_recovery_spread": enhancement_recovery_spread(*images, self.spacing),
        }

    def _contrast(self, prediction: np.ndarray) -> dict[str, float]:
        cnr = contrast_to_noise_ratio(prediction, self.masks[VESSEL], self._beside)
        return {"vessel_cnr": cnr, "vessel_cnr_ratio": ratio(cnr, self._cta_cnr)}

    def _overlap(self, prediction: np.ndarray) -> dict[str, float]:
        if not self._cta_vessels.any():  # n/a for every prediction: methods are to be averaged over the same cases
            return {"vessel_dice": NAN, "vessel_cldice": NAN}
        found = thresholded_vessels(prediction, self.masks[BODY], self._bright, self.spacing)
        return {
            "vessel_dice": dice(found, self._cta_vessels),
            "vessel_cldice": centreline_dice(found, self._cta_vessels, self._cta_centreline),
        }

    def _sharpness(self, prediction: np.ndarray) -> dict[str, float]:
        energy = high_frequency_energy(prediction, self._lung_vessels)
        return {"lung_vessel_sharpness": ratio(energy, self._cta_energy)}


def lung_vessel_shell(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """The vessels in the lungs and the voxel around them: where blurring shows."""
    return ndimage.binary_dilation(masks[VESSEL] & masks[LUNG]) & masks[LUNG]


def _box_around(masks: Sequence[np.ndarray]) -> tuple[slice, ...]:
    """The masks' common bounding box with a margin of SSIM's window; everything where all are empty."""
    boxes = [box for mask in masks for box in ndimage.find_objects(mask.view(np.uint8))]
    if not boxes:
        return (slice(None),) * masks[0].ndim
    margin = TAPS // 2
    return tuple(
        slice(max(0, min(side.start for side in sides) - margin), max(side.stop for side in sides) + margin)
        for sides in zip(*boxes, strict=True)
    )
