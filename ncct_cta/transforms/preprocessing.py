"""From a case's files to HU and masks on one grid: the list that training, validation and inference share."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from typing import Any

from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd, Spacingd

from ..common.errors import InputError
from ..common.keys import BODY, CASE, CTA, LUNG, NCCT, VESSEL
from ..settings import DataConfig
from ..volumes.nifti import Volume
from .intensity import RoundHUd
from .loading import LoadCTd
from .masks import BodyMaskd, LungMaskd, MaskTransform, VesselMaskd

IMAGES = (NCCT, CTA)
MASKS = (LUNG, VESSEL)
REASON_LENGTH = 150


def default_preprocessing(data: DataConfig) -> Compose:
    """The ``preprocessing`` of the bundle's ``train.yaml``, built from the settings.

    Its input is a case as a mapping: ``case`` its name, ``ncct``, ``cta``, ``lung`` and ``vessel`` the paths of those
    files that there are. Its output has ``MetaTensor`` (1, X, Y, Z) in RAS+ orientation instead, and the masks that
    were missing.
    """
    present: dict[str, Any] = {"keys": (*IMAGES, *MASKS), "allow_missing_keys": True}
    modes = ("bilinear", "bilinear", "nearest", "nearest")
    resample = [Spacingd(pixdim=data.spacing, mode=modes, padding_mode="border", **present)] if data.spacing else []
    return Compose(
        [
            LoadCTd(IMAGES, MASKS, allow_missing_keys=True),
            Orientationd(axcodes="RAS", labels=None, **present),
            *resample,
            RoundHUd(IMAGES, allow_missing_keys=True),
            LungMaskd(LUNG, NCCT),
            VesselMaskd(VESSEL, NCCT, CTA, allow_missing_keys=True),
            BodyMaskd(BODY, NCCT),
        ]
    )


def preprocess(preprocessing: Compose, case: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Apply a list to a case.

    Raises:
        InputError: if the case's files can't be used, or a step fails on them; it is named.
    """
    # A copy: MONAI's transforms note in themselves that they work, in a form that can't be sent to a worker.
    working = copy.deepcopy(preprocessing)
    try:
        return dict(working(case))
    except InputError:
        raise
    except Exception as error:  # a transform of the user's own may raise anything
        raise _explained(error, working, case) from error


def preprocess_ncct(preprocessing: Compose, ncct: Volume) -> MetaTensor:
    """Apply a list to an NCCT alone, as inference needs it: without the masks at its end, which nothing there uses.

    Args:
        preprocessing: the list that the network was trained with.
        ncct: the scan, in any orientation.

    Returns:
        HU, (1, X, Y, Z), with the affine of the network's grid.

    Raises:
        InputError: if a step fails.
    """
    steps = list(preprocessing.transforms)
    while steps and isinstance(steps[-1], MaskTransform):
        steps.pop()
    image = preprocess(Compose(steps), {NCCT: ncct}).get(NCCT)
    if not isinstance(image, MetaTensor):
        raise InputError(
            f"{ncct.path}: the preprocessing gives {type(image).__name__} for {NCCT}, expected a MetaTensor with its "
            "affine; let every step keep it"
        )
    return image


def _explained(error: Exception, preprocessing: Compose, case: Mapping[Hashable, Any]) -> InputError:
    """What failed: MONAI wraps it once for every Compose around it, and names the transform by its repr."""
    step = type(preprocessing).__name__
    while error.__cause__ is not None and isinstance(error, RuntimeError):
        failed = [t for t in preprocessing.flatten().transforms if str(error) == f"applying transform {t}"]
        step = type(failed[0]).__name__ if failed else step
        cause = error.__cause__
        if isinstance(cause, InputError):
            return cause
        if not isinstance(cause, Exception):
            break
        error = cause
    name = f"case {case[CASE]}: " if CASE in case else ""
    reason = f"{type(error).__name__}: {error}"[:REASON_LENGTH]
    return InputError(f"{name}the preprocessing's step {step} fails ({reason}); correct the step or the case")
