"""Random movements of a training patch, the same for all of its images."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandAffined, RandomizableTransform
from monai.utils import ensure_tuple

ROTATION_RAD = 0.09  # about 5 degrees: how much the position of patients varies
SCALING = 0.1
SHIFT_VOXELS = 8.0
CTS, MASKS = "cts", "masks"  # what is interpolated alike, as the channels of one image


class RandPairedAffined(RandomizableTransform, MapTransform):
    """Rotate, scale and shift at random, the same for all images of a sample; CTs linearly, masks by their nearest.

    HU are not augmented: they are what the network has to learn. Nor are there flips: the heart is on the left. Volumes
    are turned about the body's axis only.

    Args:
        keys: CTs, (1, X, Y) or (1, X, Y, Z); float32 afterwards.
        mask_keys: masks of the same shape; float32 afterwards, 0 or 1.
        spatial_dims: 2 or 3.
        prob: the share of samples that is moved.
        rotation_rad: largest rotation in radians, to either side.
        scaling: largest relative scaling along each axis.
        shift_voxels: largest shift along each axis in voxels.
        allow_missing_keys: pass over images that are missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        mask_keys: KeysCollection = (),
        *,
        spatial_dims: int = 2,
        prob: float = 0.5,
        rotation_rad: float = ROTATION_RAD,
        scaling: float = SCALING,
        shift_voxels: float = SHIFT_VOXELS,
        allow_missing_keys: bool = False,
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        MapTransform.__init__(self, (*ensure_tuple(keys), *ensure_tuple(mask_keys)), allow_missing_keys)
        self.mask_keys = ensure_tuple(mask_keys)
        self.affine = RandAffined(
            (CTS, MASKS),
            prob=prob,
            rotate_range=rotation_rad if spatial_dims == 2 else (0.0, 0.0, rotation_rad),
            scale_range=(scaling,) * spatial_dims,
            translate_range=(shift_voxels,) * spatial_dims,
            mode=["bilinear", "nearest"],
            padding_mode="border",
            allow_missing_keys=True,
        )

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandPairedAffined:
        """Seed the movements."""
        self.affine.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Give the same with moved images, plain tensors."""
        images = dict(data)
        present = list(self.key_iterator(images))
        alike = {CTS: [key for key in present if key not in self.mask_keys]}
        alike[MASKS] = [key for key in present if key in self.mask_keys]
        # Channels of one image: moved together they cost little more than one.
        stacked: dict[Hashable, Any] = {
            name: torch.cat([images[key] for key in keys]) for name, keys in alike.items() if keys
        }
        moved: dict[Hashable, Any] = self.affine(stacked)
        for name, keys in alike.items():
            # MONAI's tensors carry a history that would slow down every operation of the network.
            channels = moved[name].as_subclass(torch.Tensor).split([len(images[key]) for key in keys]) if keys else ()
            images.update(zip(keys, channels, strict=True))
        return images
