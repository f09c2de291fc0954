"""A case of the case list through the preprocessing: the arrays that the volume store keeps."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Compose, RandomizableTrait

from ..common.errors import InputError
from ..common.hu import CT_MUST_REACH_HU, to_int16_hu
from ..common.keys import BODY, CASE, CTA, IGNORE, LUNG, NCCT, VESSEL
from ..transforms import preprocess
from ..transforms.contrast import blood_hu, is_enhanced
from .cases import KINDS, Case

logger = logging.getLogger(__name__)

IMAGES = (NCCT, CTA)
STORED = (*IMAGES, LUNG, VESSEL, BODY)


class CasePreprocessing:
    """Apply a preprocessing to a case, and check that what it gives can be trained on.

    Args:
        preprocessing: the transforms, see ``transforms.default_preprocessing``.

    Raises:
        InputError: if one of them draws at random: what is stored once would be the same for ever.
    """

    def __init__(self, preprocessing: Compose) -> None:
        self.preprocessing = preprocessing
        for transform in preprocessing.flatten().transforms:
            if isinstance(transform, RandomizableTrait) and not isinstance(transform, Compose):
                raise InputError(
                    f"the preprocessing holds {type(transform).__name__}, which draws at random, and its result is "
                    "stored; move it to the training patches' transforms (train::dataset::transforms)"
                )

    def __call__(self, case: Case) -> tuple[Mapping[str, np.ndarray], np.ndarray]:
        """Return the case's images by batch key, (X, Y, Z) in RAS+ orientation, and their affine.

        Images are int16 HU, masks uint8. ``ignore`` is among them only if the case has such a mask.

        Raises:
            InputError: if a file can't be used, the grids differ, there is no CTA or no lung, the NCCT and the CTA are
                swapped, or a step fails.
        """
        if case.cta is None:
            raise InputError(f"case {case.name}: there is no CTA; training and validation need NCCT and CTA")
        files: dict[Hashable, Any] = {kind: path for kind in KINDS if (path := getattr(case, kind)) is not None}
        ignore = files.pop(IGNORE, None)
        images = preprocess(self.preprocessing, files | {CASE: case.name})
        affine = _checked_affine(images, case)
        arrays = {key: np.asarray(images[key][0]) for key in STORED}
        if ignore is not None:
            # In the lung mask's place: any list, a user's own too, brings it to the images' grid as it does that one.
            moved = preprocess(self.preprocessing, files | {LUNG: ignore, CASE: case.name})
            _checked_affine(moved, case)
            arrays[IGNORE] = np.asarray(moved[LUNG][0])
        for key in IMAGES:
            _require_hu(arrays[key], key, case)
        _require_contrast_in_the_cta(arrays, np.linalg.norm(affine[:3, :3], axis=0).tolist(), case)
        return {key: to_int16_hu(a) if key in IMAGES else (a > 0).astype(np.uint8) for key, a in arrays.items()}, affine


def _require_contrast_in_the_cta(arrays: Mapping[str, np.ndarray], spacing: Sequence[float], case: Case) -> None:
    """Refuse a pair whose two scans are swapped, by what the blood in the heart shows; file names lie.

    Raises:
        InputError: if the NCCT shows contrast and the CTA none.
    """
    blood = {key: blood_hu(arrays[key], spacing) for key in IMAGES}
    enhanced = {key: is_enhanced(hu) for key, hu in blood.items()}
    if enhanced[NCCT] and enhanced[CTA] is False:
        raise InputError(
            f"case {case.name}: the NCCT shows contrast (its blood has {blood[NCCT]:.0f} HU) and the CTA none "
            f"({blood[CTA]:.0f} HU): the two are swapped; exchange them"
        )
    if enhanced[NCCT]:
        logger.warning("case %s: its NCCT shows contrast: its blood has %.0f HU", case.name, blood[NCCT])
    if enhanced[CTA] is False:
        logger.warning("case %s: its CTA shows no contrast: its blood has %.0f HU", case.name, blood[CTA])


def _checked_affine(images: Mapping[Hashable, Any], case: Case) -> np.ndarray:
    """The one affine of the images, all of which must be there and of one shape."""
    missing = [key for key in STORED if key not in images]
    if missing:
        raise InputError(f"case {case.name}: the preprocessing gives no {', '.join(missing)}; keep the step that does")
    if not isinstance(images[NCCT], MetaTensor):
        raise InputError(
            f"case {case.name}: the preprocessing gives a {type(images[NCCT]).__name__} for {NCCT}, expected a "
            "MetaTensor with its affine; let every step keep it"
        )
    shapes = {key: tuple(images[key].shape) for key in STORED}
    if len(shapes[NCCT]) != 4 or shapes[NCCT][0] != 1 or len(set(shapes.values())) > 1:
        raise InputError(f"case {case.name}: the preprocessing gives {shapes}, expected (1, X, Y, Z), the same for all")
    return images[NCCT].affine.numpy()


def _require_hu(image: np.ndarray, key: str, case: Case) -> None:
    lowest, highest = float(image.min()), float(image.max())
    # Also false for NaN.
    if not (lowest <= CT_MUST_REACH_HU and np.isfinite(highest)):
        raise InputError(
            f"case {case.name}: after the preprocessing {key} lies in [{lowest:g}, {highest:g}], expected HU with air "
            "near -1000; leave out the step that scales it (networks get data.window scaled later)"
        )
