"""``LoadCTd``: a case's CTs and masks from their files, checked, on one voxel grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

from ..common.keys import CASE
from ..volumes.nifti import Volume, read_ct, read_mask, require_same_grid


class LoadCTd(MapTransform):
    """Read CTs in HU and masks, and check that all of them share one voxel grid.

    A value is the path of a NIfTI file or, for a CT, a ``Volume`` that is read already (a DICOM series). It becomes a
    ``MetaTensor`` (1, X, Y, Z) in the file's own axis order, with its affine in RAS+ mm: CTs in HU, int16 where that
    holds every value and else float32; masks uint8, 0 or 1.

    Args:
        keys: the CTs. The first one that is given sets the grid.
        mask_keys: the masks.
        allow_missing_keys: pass over CTs and masks that aren't given; inference has an NCCT alone.

    Raises:
        InputError: if a file can't be used or lies on another grid; the case is named where ``data`` has ``case``.
    """

    def __init__(self, keys: KeysCollection, mask_keys: KeysCollection = (), allow_missing_keys: bool = False) -> None:
        super().__init__((*ensure_tuple(keys), *ensure_tuple(mask_keys)), allow_missing_keys)
        self.mask_keys = ensure_tuple(mask_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace paths by images.

        Raises:
            KeyError: if a CT or a mask is missing that must not, or all CTs are.
        """
        present = list(self.key_iterator(data))
        cts = {key: self._read_ct(data[key]) for key in present if key not in self.mask_keys}
        if not cts:
            raise KeyError(f"none of the CTs {', '.join(map(str, self.keys))} is given")
        first_key, first = next(iter(cts.items()))
        for key, volume in cts.items():
            names = (str(first_key).upper(), str(key).upper())
            require_same_grid(first, volume, names=names, case=data.get(CASE))
        arrays = {key: cts[key].array if key in cts else read_mask(data[key], first) for key in present}
        affine = torch.as_tensor(first.affine)
        images = {key: MetaTensor(torch.as_tensor(array)[None], affine=affine) for key, array in arrays.items()}
        return {**data, **images}

    @staticmethod
    def _read_ct(source: Any) -> Volume:
        return source if isinstance(source, Volume) else read_ct(source)
