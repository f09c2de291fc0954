"""From a case's files to arrays on one grid, and from arrays to augmented training patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd, RandAffined, Spacingd

from ..common.errors import InputError
from ..common.hu import to_int16_hu
from ..common.keys import BODY, CTA, LUNG, NCCT, VESSEL
from ..metrics import body_mask, vessel_mask_from_pair
from ..transforms.lung_mask import compute_lung_mask
from ..volumes.nifti import read_ct, read_mask, require_same_grid
from .cases import Case

IMAGES = (NCCT, CTA)
MASKS = (LUNG, VESSEL)
ROTATION_RAD = 0.09  # about 5 degrees: how differently patients lie
SCALING = 0.1
SHIFT_VOXELS = 8.0


class CasePreparation:
    """Read a case, check it, bring it into RAS orientation and, if wanted, to one voxel size.

    Args:
        spacing: voxel size in mm, (X, Y, Z); None keeps the scan's own.
    """

    def __init__(self, spacing: Sequence[float] | None = None) -> None:
        self.spacing = spacing

    def __call__(self, case: Case) -> tuple[Mapping[str, np.ndarray], np.ndarray]:
        """Give the case's images by batch key, (X, Y, Z) in RAS+ orientation, and their affine.

        Images are int16 HU, masks uint8. Masks that no file gives are computed.

        Raises:
            InputError: if a file can't be used, the grids differ, there is no CTA, or there is no lung.
        """
        images = self._read(case)
        keys = tuple(images)
        steps: list = [Orientationd(keys, axcodes="RAS", labels=None)]
        if self.spacing is not None:
            modes = ["bilinear" if key in IMAGES else "nearest" for key in keys]
            steps.append(Spacingd(keys, pixdim=self.spacing, mode=modes, padding_mode="border"))
        placed = Compose(steps)(images)
        affine = placed[NCCT].affine.numpy()
        arrays = {key: image[0].numpy() for key, image in placed.items()}
        arrays = {key: to_int16_hu(a) if key in IMAGES else a.astype(np.uint8) for key, a in arrays.items()}
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if LUNG not in arrays:
            arrays[LUNG] = _computed_lung(case, arrays[NCCT], spacing)
        if VESSEL not in arrays:
            arrays[VESSEL] = vessel_mask_from_pair(arrays[NCCT], arrays[CTA])
        # Stored, because every validation needs it and it takes seconds to compute.
        arrays[BODY] = body_mask(arrays[NCCT], spacing).astype(np.uint8)
        return arrays, affine

    def _read(self, case: Case) -> dict[str, MetaTensor]:
        if case.cta is None:
            raise InputError(f"case {case.name}: there is no CTA; training and validation need NCCT and CTA")
        ncct, cta = read_ct(case.ncct), read_ct(case.cta)
        require_same_grid(ncct, cta, case=case.name)
        arrays = {NCCT: ncct.array, CTA: cta.array}
        for key, path in ((LUNG, case.lung), (VESSEL, case.vessel)):
            if path is not None:
                arrays[key] = read_mask(path, ncct)
        affine = torch.as_tensor(ncct.affine)
        return {key: MetaTensor(torch.as_tensor(array)[None], affine=affine) for key, array in arrays.items()}


def _computed_lung(case: Case, ncct_hu: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    try:
        return compute_lung_mask(ncct_hu, spacing)
    except InputError as error:
        raise InputError(f"case {case.name}: {error}") from error


def paired_augmentation(spatial_dims: int, keys: Sequence[str]) -> RandAffined:
    """Random small rotations, scalings and shifts, the same for all images of a sample.

    HU are left alone: they are what the network has to learn. Flips are left out: the heart lies on the left.
    """
    axial_only = ROTATION_RAD if spatial_dims == 2 else (0.0, 0.0, ROTATION_RAD)
    return RandAffined(
        keys,
        prob=0.5,
        rotate_range=axial_only,
        scale_range=(SCALING,) * spatial_dims,
        translate_range=(SHIFT_VOXELS,) * spatial_dims,
        mode=["nearest" if key in MASKS else "bilinear" for key in keys],
        padding_mode="border",
    )
