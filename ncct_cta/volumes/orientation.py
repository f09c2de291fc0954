"""Volumes in another axis order, by permuting and flipping alone: no voxel is resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform

from .nifti import Volume


def to_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn an array's axes to the closest RAS+ order by permuting and flipping alone: no voxel is resampled.

    Args:
        array: (X, Y, Z, ...) in the order that ``affine`` describes.
        affine: (4, 4), voxel indices to RAS+ mm.

    Returns:
        A view whose axes run towards right, anterior and superior, and the (3, 2) orientation for ``from_ras``.
    """
    orientation = io_orientation(affine)
    return apply_orientation(array, orientation), orientation


def from_ras(array: np.ndarray, orientation: np.ndarray) -> np.ndarray:
    """Undo ``to_ras``: back to the file's own axis order."""
    back = ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), orientation)
    return apply_orientation(array, back)


def oriented_like(volume: Volume, like: Volume) -> Volume:
    """Turn a volume's axes to another's order by permuting and flipping alone: no voxel is resampled."""
    # Along the other's own axes: the closest RAS+ order of two oblique grids may differ by their rounding alone.
    turn = io_orientation(np.linalg.inv(like.affine) @ volume.affine)
    image = nib.Nifti1Image(volume.array, volume.header.get_best_affine(), volume.header).as_reoriented(turn)
    return replace(volume, array=np.asanyarray(image.dataobj), header=image.header, stored_shape=image.shape)


def spacing_to_ras(spacing: Sequence[float], orientation: np.ndarray) -> tuple[float, float, float]:
    """Reorder the spacing of a file's axes as ``to_ras`` reorders its array."""
    x, y, z = (spacing[int(axis)] for axis in np.argsort(orientation[:, 0]))
    return float(x), float(y), float(z)
