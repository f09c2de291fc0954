"""Random movements of a training patch, the same for all of its images."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import RandAffineGrid, RandomizableTransform

from ..common.keys import MOVEMENT
from .movement import REACH

ROTATION_RAD = 0.09  # about 5 degrees: how much the position of patients varies
SCALING = 0.1
SHIFT_VOXELS = 8.0


class RandMovement(RandomizableTransform):
    """Draw a rotation, scaling and shift for all images of a sample; ``moved_patches`` moves them.

    So a batch is moved at once, where it is trained on, and not patch by patch. The images have to reach ``margin``
    voxels beyond the patch on every side, as those of ``PatchDataset`` do.

    HU are not augmented: they are what the network has to learn. Nor are there flips: the heart is on the left. Volumes
    are turned about the body's axis only.

    Args:
        spatial_dims: 2 or 3.
        prob: the share of samples that is moved.
        rotation_rad: largest rotation in radians, to either side.
        scaling: largest relative scaling along each axis.
        shift_voxels: largest shift along each axis in voxels.
        strength: what the largest rotation and scaling are multiplied by.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        *,
        prob: float = 0.5,
        rotation_rad: float = ROTATION_RAD,
        scaling: float = SCALING,
        shift_voxels: float = SHIFT_VOXELS,
        strength: float = 1.0,
    ) -> None:
        super().__init__(prob)
        rotation_rad, scaling = strength * rotation_rad, strength * scaling
        self.spatial_dims = spatial_dims
        self.farthest = (rotation_rad, scaling, shift_voxels)
        self.affine = RandAffineGrid(
            rotate_range=rotation_rad if spatial_dims == 2 else (0.0, 0.0, rotation_rad),
            scale_range=(scaling,) * spatial_dims,
            translate_range=(shift_voxels,) * spatial_dims,
            lazy=True,
        )

    def margin(self, patch_size: Sequence[int]) -> tuple[int, ...]:
        """How far beyond a patch its voxels may come from, in voxels to each side of its axes."""
        rotation, scaling, shift = self.farthest
        half = [size / 2 for size in patch_size]
        # A corner is turned about the body's axis, then scaled, then shifted.
        turned = [half[0] + rotation * half[1], half[1] + rotation * half[0], *half[2:]]
        farthest = [(1 + scaling) * side + shift + REACH for side in turned]
        return tuple(math.ceil(far - side) for far, side in zip(farthest, half, strict=True))

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandMovement:
        """Seed the movements."""
        super().set_random_state(seed, state)
        self.affine.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Give the same with a ``movement`` beside it, (n, n + 1) in n dimensions; see ``moved_patches``."""
        self.randomize(None)
        matrix = torch.eye(self.spatial_dims + 1)
        if self._do_transform:
            self.affine.randomize()  # in vain: MONAI's RandAffined draws twice, and a seed's samples are to stay
            self.affine((1,) * self.spatial_dims)
            matrix = torch.as_tensor(self.affine.get_transformation_matrix(), dtype=torch.float32)
        return {**data, MOVEMENT: matrix[:-1]}
