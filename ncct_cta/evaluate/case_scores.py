"""One case: its files read and checked, and every method's prediction scored."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..common.errors import InputError
from ..common.hu import CT_MUST_REACH_HU, LUNG_UPPER_HU
from ..common.keys import BODY, VESSEL
from ..data import Case
from ..metrics import CaseImages, Column, ComparedImages, dice, scores
from ..volumes.hu_check import require_hu_inside
from ..volumes.nifti import Volume, read_ct, read_mask, require_same_grid
from ..volumes.orientation import spacing_to_ras, to_ras
from .failures import Failure
from .prediction_files import read_prediction
from .results import IDENTITY, Method, ScoreRow

# Lung and gas in a body: a prediction with at least a tenth of the NCCT's share is in HU, however blurred or noisy it
# is.
LEAST_AIR, KEPT_AIR = 0.02, 0.1
SAME_ANATOMY_DICE = 0.9
# So many voxels of the CTA above the prediction's highest value, most of which has exactly this value there: no chance.
LEAST_CLIPPED, CLIPPED_SHARE = 20, 0.5


@dataclass
class CaseScores:
    """The result of scoring a case.

    Args:
        rows: one per method.
        missing: the columns that are n/a whatever is predicted, although their region holds voxels.
        remarks: plain sentences.
        digests: digests of the predictions' voxels, by method.
        failure: why it couldn't be scored, or None.
    """

    rows: list[ScoreRow] = field(default_factory=list)
    missing: frozenset[str] = frozenset()
    remarks: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    failure: Failure | None = None


def score_case(
    case: Case,
    methods: Sequence[Method],
    columns: Sequence[Column],
    advance: Callable[[int], object] = lambda count: None,
) -> CaseScores:
    """Score all methods on one case.

    Args:
        case: with CTA; a mask that is None leaves its scores n/a.
        methods: each with a prediction of it.
        columns: the scores.
        advance: called with 1 after each method.

    Raises:
        InputError: if a file can't be read, is on another grid or not in HU, if a prediction is the NCCT itself,
            or if NCCT and CTA are swapped.
    """
    ncct = read_ct(case.ncct)
    images = case_images(case, ncct)
    found = CaseScores()
    if BODY in images.empty_regions:
        found.remarks.append(f"{case.name}: no body was found in the NCCT, so its scores are n/a.")
    for method in methods:
        path = method.predictions[case.name]
        is_identity = path == case.ncct
        prediction = ncct.array if is_identity else read_prediction(method, case.name, ncct)
        compared = images.compared_with(to_ras(prediction, ncct.affine)[0], _segments(method, case, ncct))
        if not is_identity:
            found.remarks += _check_prediction(compared, method, case)
            found.digests[method.name] = hashlib.blake2b(prediction.tobytes("A")).hexdigest()
        row = scores(compared, columns)
        found.rows.append({"case": case.name, "method": method.name, **row})
        if method.name == IDENTITY:
            found.missing = frozenset(
                column.name
                for column in columns
                if math.isnan(row[column.name]) and column.region not in images.empty_regions
            )
        advance(1)
    return found


def case_images(case: Case, ncct: Volume) -> CaseImages:
    """What scores of a case need of it, with every check; ``ncct`` is its NCCT as read."""
    if case.cta is None:
        raise InputError(f"case {case.name}: there is no CTA; an evaluation needs NCCT and CTA")
    cta = read_ct(case.cta)
    require_same_grid(ncct, cta, case=case.name)
    masks = (None if path is None else read_mask(path, ncct) for path in (case.lung, case.vessel, case.ignore))
    lung, vessel, ignore = (None if mask is None else to_ras(mask, ncct.affine)[0] for mask in masks)
    ncct_hu, orientation = to_ras(ncct.array, ncct.affine)
    cta_hu = to_ras(cta.array, cta.affine)[0]
    spacing = spacing_to_ras(ncct.spacing, orientation)
    images = CaseImages(ncct_hu, cta_hu, lung=lung, vessel=vessel, ignore=ignore, spacing=spacing)
    _require_enhancement(images, case)
    return images


def _segments(method: Method, case: Case, ncct: Volume) -> tuple[np.ndarray, np.ndarray] | None:
    if not method.segments:
        return None
    found, true = (to_ras(read_mask(path, ncct), ncct.affine)[0] for path in method.segments[case.name])
    return found, true


def _require_enhancement(images: CaseImages, case: Case) -> None:
    vessels = images.masks[VESSEL]
    if not vessels.any():
        return
    ncct, cta = (float(image[vessels].mean(dtype=np.float64)) for image in (images.ncct, images.cta))
    if cta <= ncct:
        raise InputError(
            f"case {case.name}: its vessels have {cta:.0f} HU in the CTA and {ncct:.0f} HU in the NCCT, expected more "
            "in the CTA; the two are swapped or the same, or the vessel mask belongs to another scan"
        )


def _require_hu_in_body(images: ComparedImages, path: Path) -> None:
    """Look only inside the body: around it other programs write -1024 whatever their values inside are."""
    body = images.case.masks[BODY]
    if not body.any():
        return
    expected = float((images.case.ncct[body] < CT_MUST_REACH_HU).mean())
    least_dark = KEPT_AIR * expected if expected > LEAST_AIR else 0.0
    require_hu_inside(images.prediction[body], path, least_dark=least_dark)


def _check_prediction(images: ComparedImages, method: Method, case: Case) -> list[str]:
    """Refuse what isn't a prediction in HU; return remarks on what is odd."""
    prediction, ncct = images.prediction, images.case.ncct
    path = method.predictions[case.name]
    if method.made_elsewhere:
        _require_hu_in_body(images, path)
    if np.array_equal(prediction, ncct):
        if method.made_elsewhere:
            raise InputError(
                f"{path}: is the NCCT of {case.name}, voxel for voxel; give its prediction (the NCCT is in the table "
                "as the identity anyway)"
            )
        return [f"{method.name} changes nothing in {case.name}: its prediction is the NCCT."]
    if np.array_equal(prediction, images.case.cta):
        return [f"{method.name}'s prediction of {case.name} is the CTA itself, voxel for voxel: this proves nothing."]
    body = images.case.masks[BODY]  # around it other programs write what they like
    overlap = dice((prediction > LUNG_UPPER_HU) & body, (ncct > LUNG_UPPER_HU) & body)
    if overlap < SAME_ANATOMY_DICE:
        return [
            f"{method.name}'s prediction of {case.name} shows another anatomy than the NCCT (Dice of their tissue "
            f"{overlap:.2f}): is it another patient's, or mirrored?"
        ]
    return _on_clipping(images, method, case)


def _on_clipping(images: ComparedImages, method: Method, case: Case) -> list[str]:
    """A remark if the prediction ends at a value that much of the CTA lies above: bright vessels are cut off."""
    body = images.case.masks[BODY]
    if not body.any():
        return []
    prediction, cta = images.prediction[body], images.case.cta[body]
    top = prediction.max()
    above = cta > top
    if np.count_nonzero(above) < LEAST_CLIPPED or (prediction[above] == top).mean() < CLIPPED_SHARE:
        return []
    return [
        f"{method.name}'s prediction of {case.name} is cut off at {top:g} HU, and the CTA goes up to {cta.max():g} HU: "
        "contrast above is lost."
    ]
