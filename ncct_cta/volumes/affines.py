"""Where a NIfTI header places its volume, and what may be wrong with that."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from ..common.errors import InputError
from .nifti_file import NiftiHeader, warn_once

MM_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
EDGES_MM = (1e-4, 1e3)  # of a voxel: from microscopy's to far above any CT's
# A qform's float32 quaternion near half a turn, per mm of distance: sqrt(2 * float32's 1.2e-7).
QFORM_ROUNDING = 6e-4
QFORM_TOLERANCE_VOXELS = 0.1


def affine_mm(header: NiftiHeader) -> np.ndarray:
    """(4, 4) from voxel indices to RAS+ mm: the sform where it is set, else the qform, else the voxel size alone."""
    return in_mm(header, header.get_best_affine())


def corners_apart(a: np.ndarray, b: np.ndarray, shape: tuple[int, ...]) -> float:
    """The largest distance in mm between the same corner of a volume under two affines.

    Args:
        a: (4, 4) from voxel indices to mm.
        b: another one.
        shape: (X, Y, Z).
    """
    corners = np.array(list(itertools.product(*((0, n - 1) for n in shape[:3]))))
    apart = nib.affines.apply_affine(a, corners) - nib.affines.apply_affine(b, corners)
    return float(np.linalg.norm(apart, axis=1).max())


def require_affine(path: Path, header: NiftiHeader) -> None:
    """Check that voxels have a volume, edges that a CT may have, and a place.

    Raises:
        InputError: if not.
    """
    affine = affine_mm(header)
    edges = nib.affines.voxel_sizes(affine)
    if np.isfinite(affine).all() and edges.min() >= EDGES_MM[0] and edges.max() <= EDGES_MM[1]:
        # A rank test would depend on the units; comparing the voxel's volume with its edges doesn't.
        if abs(np.linalg.det(affine[:3, :3])) > 1e-6 * np.prod(edges):
            return
        fault = "its axes lie in one plane, so that it can't be inverted"
    elif not np.isfinite(affine).all():
        fault = "it holds NaN or infinite numbers"
    else:
        fault = f"its voxels are {' x '.join(f'{edge:.4g}' for edge in edges)} mm"
    form = "sform" if int(header["sform_code"]) > 0 else "qform"
    raise InputError(f"{path}: the header's {form} is no place of a CT: {fault}; repair the sform or qform")


def warn_of_odd_geometry(path: Path, header: NiftiHeader, shape: tuple[int, ...]) -> None:
    """Log what other programs may show otherwise: two places that disagree, or none.

    Args:
        path: the file.
        header: its header.
        shape: (X, Y, Z).
    """
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not (sform or qform):
        warn_once(
            f"{path}: neither sform nor qform says where the volume lies; its axes are taken to run to the patient's "
            "left, front and head: check the orientation"
        )
    if not (sform and qform):
        return
    used = affine_mm(header)
    try:
        apart = corners_apart(used, in_mm(header, header.get_qform()), shape)
    except (HeaderDataError, ValueError):  # a quaternion longer than 1
        apart = np.nan
    edges = nib.affines.voxel_sizes(used)
    rounding = QFORM_ROUNDING * float(np.linalg.norm(edges * shape[:3]))
    if not apart <= QFORM_TOLERANCE_VOXELS * edges.min() + rounding:
        place = f"place the volume {apart:.3g} mm apart" if np.isfinite(apart) else "can't both be read"
        warn_once(f"{path}: sform and qform {place}; the sform is taken: check it, some programs take the qform")


def in_mm(header: NiftiHeader, affine: np.ndarray) -> np.ndarray:
    """An affine (4, 4) in the units that a header names, in mm."""
    scaled = np.array(affine, dtype=float)
    scaled[:3] *= MM_PER_UNIT.get(header.get_xyzt_units()[0], 1.0)
    return scaled
