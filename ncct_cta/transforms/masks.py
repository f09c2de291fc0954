"""The masks that losses and metrics need, computed where no file gives them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..common.errors import InputError
from ..common.keys import BODY, CASE, CTA, LUNG, NCCT, VESSEL
from ..metrics import body_mask, vessel_mask_from_pair
from .lung_mask import compute_lung_mask


class MaskTransform(MapTransform):
    """A mask that is computed from CTs, unless it is there already.

    The CTs are ``MetaTensor`` (1, X, Y, Z) in HU with axes towards right, anterior and superior (``Orientationd`` to
    RAS); the mask is one of the same shape and affine, uint8, 0 or 1.

    Args:
        keys: where the mask goes.
        ct_keys: the CTs that it is computed from.
        allow_missing_keys: leave the mask out where one of the CTs is missing.
    """

    def __init__(self, keys: KeysCollection, ct_keys: Sequence[str], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.ct_keys = tuple(ct_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the mask.

        Raises:
            KeyError: if a CT is missing.
            InputError: if the mask can't be computed; the case is named where ``data`` has ``case``.
        """
        images = dict(data)
        if self.allow_missing_keys and not all(key in images for key in self.ct_keys):
            return images
        cts = [images[key] for key in self.ct_keys]
        for key in self.keys:
            if key not in images:
                spacing = np.linalg.norm(cts[0].affine.numpy()[:3, :3], axis=0).tolist()
                mask = self._computed([ct[0].numpy() for ct in cts], spacing, images.get(CASE))
                images[key] = MetaTensor(torch.from_numpy(mask.astype(np.uint8))[None], affine=cts[0].affine)
        return images

    def _computed(self, cts_hu: Sequence[np.ndarray], spacing: Sequence[float], case: str | None) -> np.ndarray:
        """The mask of CTs (X, Y, Z) in HU, spacing in mm."""
        raise NotImplementedError


class LungMaskd(MaskTransform):
    """Both lungs, by ``compute_lung_mask``.

    Args:
        keys: where the mask goes.
        ct_key: the CT, with or without contrast.
        allow_missing_keys: leave the mask out where the CT is missing.
    """

    def __init__(self, keys: KeysCollection = LUNG, ct_key: str = NCCT, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, (ct_key,), allow_missing_keys)

    def _computed(self, cts_hu: Sequence[np.ndarray], spacing: Sequence[float], case: str | None) -> np.ndarray:
        try:
            return compute_lung_mask(cts_hu[0], spacing)
        except InputError as error:
            raise InputError(f"case {case}: {error}" if case is not None else str(error)) from error


class VesselMaskd(MaskTransform):
    """Vessels by their enhancement in an aligned pair, by ``vessel_mask_from_pair``.

    Args:
        keys: where the mask goes.
        ncct_key: the CT without contrast.
        cta_key: the aligned CTA.
        allow_missing_keys: leave the mask out where one of the two is missing.
    """

    def __init__(
        self,
        keys: KeysCollection = VESSEL,
        ncct_key: str = NCCT,
        cta_key: str = CTA,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, (ncct_key, cta_key), allow_missing_keys)

    def _computed(self, cts_hu: Sequence[np.ndarray], spacing: Sequence[float], case: str | None) -> np.ndarray:
        ncct_hu, cta_hu = cts_hu
        return vessel_mask_from_pair(ncct_hu, cta_hu, spacing)


class BodyMaskd(MaskTransform):
    """The patient without the air around and without the table, by ``body_mask``.

    Args:
        keys: where the mask goes.
        ct_key: the CT without contrast.
        allow_missing_keys: leave the mask out where the CT is missing.
    """

    def __init__(self, keys: KeysCollection = BODY, ct_key: str = NCCT, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, (ct_key,), allow_missing_keys)

    def _computed(self, cts_hu: Sequence[np.ndarray], spacing: Sequence[float], case: str | None) -> np.ndarray:
        return body_mask(cts_hu[0], spacing)
