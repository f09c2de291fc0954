"""Test-time augmentation: small movements of what a network sees, which are undone in what it changes.

Wang et al., Aleatoric uncertainty estimation with test-time augmentation for medical image segmentation with CNNs,
Neurocomputing 2019. There are no flips: training has none (the heart is on the left).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

# Half of what training moves its patches by, or less, so that the network has seen the like.
MOST_RADIANS, MOST_VOXELS = 0.045, 3.0


@dataclass(frozen=True)
class Movement:
    """A rotation about the middle of the axial slice and a shift within it; the default moves nothing.

    Args:
        radians: of the rotation.
        voxels: the shift along X and Y.
    """

    radians: float = 0.0
    voxels: tuple[float, float] = (0.0, 0.0)

    def moved(self, image: torch.Tensor) -> torch.Tensor:
        """The image ``I(R (p - c) + c + s)`` of an image ``I``, interpolated linearly within each axial slice.

        Args:
            image: (n, 1, X, Y), or (1, 1, X, Y, Z); beyond its border it goes on as it ends there.
        """
        return self._sampled(image, back=False)

    def undone(self, change: torch.Tensor) -> torch.Tensor:
        """What was found on a moved image, where it belongs: ``C(R^T (q - c - s) + c)``; shape as for ``moved``."""
        return self._sampled(change, back=True)

    def _sampled(self, image: torch.Tensor, *, back: bool) -> torch.Tensor:
        if self == STILL:
            return image
        if image.ndim == 5:
            slices = image[0].permute(3, 0, 1, 2)
            return self._sampled(slices, back=back).permute(1, 2, 3, 0)[None]
        grid = self._grid(image.shape[2], image.shape[3], back=back).to(image)
        return functional.grid_sample(
            image, grid.expand(len(image), -1, -1, -1), mode="bilinear", padding_mode="border", align_corners=True
        )

    def _grid(self, width: int, height: int, *, back: bool) -> torch.Tensor:
        """(1, X, Y, 2): where each voxel's value is taken from, in [-1, 1], the last axis first as PyTorch has it."""
        x, y = torch.meshgrid(
            torch.arange(width) - (width - 1) / 2, torch.arange(height) - (height - 1) / 2, indexing="ij"
        )
        if back:
            x, y = x - self.voxels[0], y - self.voxels[1]
        sine, cosine = math.sin(self.radians), math.cos(self.radians)
        if back:
            sine = -sine
        x, y = cosine * x - sine * y, sine * x + cosine * y
        if not back:
            x, y = x + self.voxels[0], y + self.voxels[1]
        return torch.stack([y / max((height - 1) / 2, 0.5), x / max((width - 1) / 2, 0.5)], dim=-1)[None]


STILL = Movement()


def movements(count: int) -> tuple[Movement, ...]:
    """So many different movements, always the same ones, of which the first moves nothing."""
    random = np.random.default_rng(0)
    drawn = random.uniform(-1, 1, (max(count, 1) - 1, 3)).tolist()
    moving = (Movement(MOST_RADIANS * turn, (MOST_VOXELS * x, MOST_VOXELS * y)) for turn, x, y in drawn)
    return (STILL, *moving)
