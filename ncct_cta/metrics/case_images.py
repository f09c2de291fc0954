"""The images that metrics compare, and what several metrics share of them, computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import numpy as np
from scipy import ndimage

from ..common.hu import AIR_HU
from ..common.keys import BODY, VESSEL
from .regions import NONVESSEL, body_mask, named_regions

SSIM_RADIUS = 5  # voxels that SSIM's Gaussian window reaches: the margin around the body

T = TypeVar("T")


class ComputedOnce:
    """Remembers what is computed from it: metrics share intermediate results without knowing of each other."""

    def __init__(self) -> None:
        self._results: dict[Hashable, Any] = {}

    def once(self, compute: Callable[..., T], *over: Hashable) -> T:
        """``compute(self, *over)``, computed at the first call and remembered.

        Args:
            compute: a function of a module, which tells its results from others'.
            over: what else it depends on, such as a region.
        """
        key = (compute, *over)
        if key not in self._results:
            self._results[key] = compute(self, *over)
        return self._results[key]


class CaseImages(ComputedOnce):
    """A case without any prediction.

    All images are cut to the box of the body, with a margin that SSIM's windows need, so that the air around costs
    nothing.

    Args:
        ncct_hu: (X, Y, Z) in HU, Z from foot to head.
        cta_hu: the truth, same shape.
        lung: lung mask, same shape; None: scores in the lung are n/a (NaN).
        vessel: vessel mask, same shape; None: scores in vessels, and in the body without them, are n/a.
        ignore: mask of what no region counts, same shape; None: all counts.
        spacing: voxel edges in mm.

    Attributes:
        ncct: in the box, like all that follows.
        cta: the truth.
        masks: boolean, by region: body, lung, vessel, nonvessel.
        empty_regions: those without a voxel.
        spacing: voxel edges in mm.
        shape: of the case's grid.
    """

    def __init__(
        self,
        ncct_hu: np.ndarray,
        cta_hu: np.ndarray,
        *,
        lung: np.ndarray | None,
        vessel: np.ndarray | None,
        ignore: np.ndarray | None = None,
        spacing: Sequence[float],
    ) -> None:
        super().__init__()
        self.spacing, self.shape = spacing, ncct_hu.shape
        body = body_mask(ncct_hu, spacing)
        masks = [body, *(np.zeros_like(body) if mask is None else mask > 0 for mask in (lung, vessel))]
        self.box = _box_around(masks)
        self.ncct, self.cta = self.cut(ncct_hu), self.cut(cta_hu)
        self.masks = named_regions(*(self.cut(mask) for mask in masks))
        if vessel is None:  # without a vessel mask the region without vessels is unknown too
            self.masks[NONVESSEL] = self.masks[VESSEL]
        if ignore is not None:
            counted = self.cut(ignore) == 0
            self.masks = {name: mask & counted for name, mask in self.masks.items()}
        self.empty_regions = frozenset(name for name, mask in self.masks.items() if not mask.any())

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Crop an image on the case's grid to the box in which scores are computed; contiguous."""
        return np.ascontiguousarray(image[self.box])

    def whole(self, part: np.ndarray) -> np.ndarray:
        """An image of the box on the case's grid, 0 around it."""
        image = np.zeros(self.shape, part.dtype)
        image[self.box] = part
        return image

    def compared_with(
        self, prediction_hu: np.ndarray, segments: tuple[np.ndarray, np.ndarray] | None = None
    ) -> ComparedImages:
        """What metrics take: the case and a prediction (X, Y, Z) in HU on its grid.

        Args:
            prediction_hu: the prediction.
            segments: masks that a segmentation of the user's own found in the prediction and in the CTA, same shape.
        """
        masks = None if segments is None else (self.cut(segments[0] > 0), self.cut(segments[1] > 0))
        return ComparedImages(self, self.cut(prediction_hu), masks)


class ComparedImages(ComputedOnce):
    """A case and one prediction of it.

    Args:
        case: what is the same for every prediction.
        prediction: in HU, in the case's box.
        segments: boolean masks of the prediction and of the CTA by a segmentation of the user's own; None without one.
    """

    def __init__(
        self, case: CaseImages, prediction: np.ndarray, segments: tuple[np.ndarray, np.ndarray] | None = None
    ) -> None:
        super().__init__()
        self.segments = segments
        self.case = case
        self.prediction = prediction

    def error_hu(self, region: str) -> np.ndarray:
        """Prediction - CTA in a region's voxels, (n,) float32: int16 would overflow."""
        mask = self.case.masks[region]
        return self.prediction[mask].astype(np.float32) - self.case.cta[mask]


# Filters see one and the same air around the body in all images, so that no score depends on it, nor on a table in one
# of them.
def prediction_in_air(images: ComparedImages) -> np.ndarray:
    """The prediction, air outside the body."""
    return np.where(images.case.masks[BODY], images.prediction, AIR_HU)


def cta_in_air(case: CaseImages) -> np.ndarray:
    """The CTA, air outside the body."""
    return np.where(case.masks[BODY], case.cta, AIR_HU)


def ncct_in_air(case: CaseImages) -> np.ndarray:
    """The NCCT, air outside the body."""
    return np.where(case.masks[BODY], case.ncct, AIR_HU)


def _box_around(masks: Sequence[np.ndarray]) -> tuple[slice, ...]:
    """The masks' common bounding box with a margin; the whole grid if all are empty."""
    boxes = [box for mask in masks for box in ndimage.find_objects(mask.view(np.uint8))]
    if not boxes:
        return (slice(None),) * masks[0].ndim
    return tuple(
        slice(max(0, min(side.start for side in sides) - SSIM_RADIUS), max(side.stop for side in sides) + SSIM_RADIUS)
        for sides in zip(*boxes, strict=True)
    )
