"""Random movements of a training patch, the same for all of its images."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandAffined, RandomizableTransform
from monai.utils import ensure_tuple

ROTATION_RAD = 0.09  # about 5 degrees: how much the position of patients varies
SCALING = 0.1
SHIFT_VOXELS = 8.0
CUBIC = 3  # the splines' order
SPLINE_REACH = 2  # voxels on each side that a cubic spline is taken of
CTS, MASKS = "cts", "masks"  # what is interpolated alike, as the channels of one image


class RandPairedAffined(RandomizableTransform, MapTransform):
    """Rotate, scale and shift all images of a sample alike, at random; masks take their nearest voxel.

    Linear interpolation takes up to a third of the noise away, and the network would be taught CTAs that are softer
    than real ones; cubic splines (Unser, IEEE Signal Processing Magazine 1999) keep 95 % of a usual kernel's noise.
    Slices are moved by these. Volumes are still moved linearly: splines would take a second for each patch. Where a
    voxel comes from beyond the image, its edge is repeated: give it images that reach ``margin`` beyond the patch on
    every side, and cut the patch out afterwards, as ``PatchDataset`` does.

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
        self.spatial_dims = spatial_dims
        self.farthest = (rotation_rad, scaling, shift_voxels)
        self.affine = RandAffined(
            (CTS, MASKS),
            prob=prob,
            rotate_range=rotation_rad if spatial_dims == 2 else (0.0, 0.0, rotation_rad),
            scale_range=(scaling,) * spatial_dims,
            translate_range=(shift_voxels,) * spatial_dims,
            mode=[CUBIC if spatial_dims == 2 else "bilinear", "nearest"],  # type: ignore[list-item]
            padding_mode="border",
            allow_missing_keys=True,
        )

    def margin(self, patch_size: Sequence[int]) -> tuple[int, ...]:
        """How far beyond a patch its voxels may come from, in voxels to each side of its axes."""
        rotation, scaling, shift = self.farthest
        half = [size / 2 for size in patch_size]
        # A corner is turned about the body's axis, then scaled, then shifted.
        turned = [half[0] + rotation * half[1], half[1] + rotation * half[0], *half[2:]]
        farthest = [(1 + scaling) * side + shift + SPLINE_REACH for side in turned]
        return tuple(math.ceil(far - side) for far, side in zip(farthest, half, strict=True))

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
        if CTS in moved:
            # Splines overshoot at edges: each image stays in its own range, and so in the HU window.
            spatial = tuple(range(1, stacked[CTS].ndim))
            lowest, highest = (bound(spatial, keepdim=True) for bound in (stacked[CTS].amin, stacked[CTS].amax))
            moved[CTS] = moved[CTS].clamp(lowest, highest)
        for name, keys in alike.items():
            # MONAI's tensors carry a history that would slow down every operation of the network.
            channels = moved[name].as_subclass(torch.Tensor).split([len(images[key]) for key in keys]) if keys else ()
            images.update(zip(keys, channels, strict=True))
        return images
