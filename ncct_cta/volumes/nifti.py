"""CT volumes in NIfTI files: read with every check (``nifti_write`` writes them)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError

from ..common.errors import InputError
from ..common.hu import CT_MUST_REACH_HU, INT16_RANGE
from .hu_check import require_hu

SUFFIXES = (".nii.gz", ".nii")
MIN_SLICES = 1  # one slice is synthesised like any other
# Names of files that say what they hold and not of whom.
KINDS_OF_IMAGE = ("ncct", "ct", "native", "noncontrast", "non_contrast", "image", "img", "volume", "scan", "series")
# Two grids are one when no corner of the volume moves by more than this part of a voxel: far above what float32
# headers and quaternions round off, far below what matters anatomically.
GRID_TOLERANCE_VOXELS = 0.01
SLAB_BYTES = 32 * 2**20
MM_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
READ_ERRORS = (ImageFileError, HeaderDataError, OSError, EOFError, zlib.error, ValueError)

NiftiHeader = nib.Nifti1Header  # Nifti2Header is a subclass of it


@dataclass(frozen=True)
class Volume:
    """One CT volume and the header it came with.

    Args:
        array: (X, Y, Z) HU, in the file's own axis order; int16 where that holds every value, else float32.
        header: the file's header, kept for its geometry; NIfTI-1 or NIfTI-2.
        path: the file.
        stored_shape: the shape in the file, which may end in singleton axes: (X, Y, Z) or (X, Y, Z, 1).
    """

    array: np.ndarray
    header: NiftiHeader
    path: Path
    stored_shape: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(X, Y, Z)."""
        return tuple(self.array.shape)

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) matrix from voxel indices to RAS+ mm; the sform where it is set, else the qform."""
        return _affine_mm(self.header)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edges along X, Y and Z in mm."""
        x, y, z = nib.affines.voxel_sizes(self.affine)
        return float(x), float(y), float(z)


def read_ct(path: str | Path) -> Volume:
    """Read a CT in HU.

    Raises:
        InputError: if the file is missing, damaged or no NIfTI, if it holds no single 3-D channel of at least
            ``MIN_SLICES`` slices, if voxels are NaN or infinite, or if the values can't be HU.
    """
    volume = _read(Path(path))
    require_hu(volume.array, volume.path)
    return volume


def read_values(path: str | Path) -> Volume:
    """Read a volume whose values need not be HU, such as a prediction of another program; otherwise as ``read_ct``."""
    return _read(Path(path))


def read_mask(path: str | Path, like: Volume | None = None) -> np.ndarray:
    """Read a mask: (X, Y, Z) uint8, 1 wherever the file is above 0.

    Args:
        path: the mask's file.
        like: the volume whose grid the mask must share.

    Raises:
        InputError: if the file can't be read, is empty, looks like a CT, or lies on another grid than ``like``.
    """
    volume = _read(Path(path))
    if like is not None:
        require_same_grid(like, volume, names=(str(like.path), f"the mask {path}"))
    lowest = volume.array.min()
    if lowest <= CT_MUST_REACH_HU:
        raise InputError(f"{path}: holds values down to {lowest:g}, which looks like a CT; a mask holds 0 and 1")
    mask = (volume.array > 0).astype(np.uint8)
    if not mask.any():
        raise InputError(f"{path}: the mask is empty; expected at least one voxel above 0: leave it out or draw it")
    return mask


def read_shape(path: str | Path) -> tuple[int, ...]:
    """The shape of a NIfTI file by its header alone.

    Raises:
        InputError: if there is no readable header.
    """
    try:
        return tuple(cast(nib.Nifti1Image, nib.load(path)).shape)
    except READ_ERRORS as error:
        raise InputError(f"{path}: not readable as NIfTI ({error}); check the path, or copy it again") from error


def require_same_grid(a: Volume, b: Volume, *, names: Sequence[str] = ("NCCT", "CTA"), case: str | None = None) -> None:
    """Check that two volumes share one voxel grid (see ``GRID_TOLERANCE_VOXELS``).

    Args:
        a: a volume.
        b: another one.
        names: what the error calls the two.
        case: the case's name, for the error.

    Raises:
        InputError: if the shapes differ, or if any corner of the two lies apart.
    """
    prefix = f"case {case}: " if case is not None else ""
    remedy = "resample them onto one grid (python -m ncct_cta.prepare does)"
    if a.shape != b.shape:
        raise InputError(f"{prefix}{names[0]} is {a.shape}, {names[1]} is {b.shape}; {remedy}")
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in a.shape], indexing="ij"), axis=-1).reshape(-1, 3)
    apart = nib.affines.apply_affine(a.affine, corners) - nib.affines.apply_affine(b.affine, corners)
    distance = float(np.linalg.norm(apart, axis=1).max())
    if distance > GRID_TOLERANCE_VOXELS * min(a.spacing):
        raise InputError(
            f"{prefix}{names[0]} and {names[1]} have one shape {a.shape}, but their affines place a corner "
            f"{distance:.3g} mm apart, expected 0; {remedy}"
        )


def case_name(path: str | Path) -> str:
    """The case that a file belongs to: its name without .nii or .nii.gz and without a trailing _ncct.

    Where that is the kind of image alone, as in ``P003/NCCT.nii.gz``, it is the folder's name.

    >>> case_name("scans/patient.17.b_ncct.nii.gz"), case_name("scans/P003/NCCT.nii.gz")
    ('patient.17.b', 'P003')
    """
    name = Path(path).name
    suffix = nifti_suffix(path)
    stem = name[: len(name) - len(suffix)] if suffix else name
    if stem.lower() in KINDS_OF_IMAGE and Path(path).parent.name:
        return Path(path).parent.name
    return stem.removesuffix("_ncct") or stem


def nifti_suffix(path: str | Path) -> str:
    """``.nii.gz`` or ``.nii``, whichever the path ends in (in any case of letters), else an empty string."""
    return next((suffix for suffix in SUFFIXES if Path(path).name.lower().endswith(suffix)), "")


def _read(path: Path) -> Volume:
    if not path.exists():
        raise InputError(f"{path}: there is no such file; check the path")
    if path.is_dir() or not nifti_suffix(path):
        raise InputError(f"{path}: expected a NIfTI file (.nii or .nii.gz); python -m ncct_cta.prepare converts DICOM")
    try:
        image = cast(nib.Nifti1Image, nib.load(path))  # NIfTI-2's class is a subclass
        stored = np.dtype(image.get_data_dtype())
        _check_layout(path, image.shape, stored)
        _check_affine(path, image.header)
        array = _read_array(path, image, stored)
    except InputError:
        raise
    except READ_ERRORS as error:
        raise InputError(f"{path}: not readable as NIfTI, damaged or cut short ({error}); copy it again") from error
    return Volume(array=array, header=image.header.copy(), path=path, stored_shape=tuple(image.shape))


def _check_layout(path: Path, shape: tuple[int, ...], stored: np.dtype) -> None:
    if stored.kind not in "iuf":
        kind = "RGB" if stored.kind == "V" else str(stored)
        raise InputError(f"{path}: the voxels are {kind}, expected one number each; give the CT in HU")
    if any(n != 1 for n in shape[3:]):
        raise InputError(f"{path}: the shape is {shape}, expected one channel (X, Y, Z); give one volume a file")
    if len(shape) < 3 or min(shape[:3]) < MIN_SLICES:
        raise InputError(
            f"{path}: the shape is {shape}, expected three axes (X, Y, Z), none of them empty; give the series"
        )


def _check_affine(path: Path, header: NiftiHeader) -> None:
    affine = _affine_mm(header)
    # A rank test would depend on the units; the voxel's volume against its edges doesn't.
    edges = float(np.prod(nib.affines.voxel_sizes(affine)))
    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine[:3, :3])) > 1e-6 * edges:
        raise InputError(f"{path}: the affine {affine[:3].tolist()} can't be inverted; repair the sform or qform")


def _affine_mm(header: NiftiHeader) -> np.ndarray:
    affine = header.get_best_affine()
    affine[:3] *= MM_PER_UNIT.get(header.get_xyzt_units()[0], 1.0)
    return affine


def _read_array(path: Path, image: nib.Nifti1Image, stored: np.dtype) -> np.ndarray:
    """All voxels, scaled, slab by slab: beside the result no more than ``SLAB_BYTES`` are held at a time."""
    shape = image.shape[:3]
    array = np.empty(shape, np.int16, order="F")
    proxy = cast(ArrayProxy, image.dataobj)
    slope, inter = proxy.slope, proxy.inter
    not_finite = 0
    for start, raw in _slabs(path, image, stored):
        slab = raw if (slope, inter) == (1, 0) else raw * np.float64(slope) + np.float64(inter)
        if slab.dtype.kind == "f":
            slab = slab.astype(np.float32, copy=False)
            not_finite += int(np.count_nonzero(~np.isfinite(slab)))
        if array.dtype == np.int16 and not not_finite and not _int16_holds(slab):
            array = array.astype(np.float32)
        if not not_finite:
            array[..., start : start + slab.shape[2]] = slab
    if not_finite:
        raise InputError(
            f"{path}: {not_finite} of {array.size} voxels are NaN or infinite, expected HU; fill them (air is -1000)"
        )
    return array


def _int16_holds(slab: np.ndarray) -> bool:
    if slab.dtype == np.int16:
        return True
    if slab.min() < INT16_RANGE[0] or slab.max() > INT16_RANGE[1]:
        return False
    return slab.dtype.kind in "iu" or bool((slab == np.rint(slab)).all())


def _slabs(path: Path, image: nib.Nifti1Image, stored: np.dtype) -> Iterator[tuple[int, np.ndarray]]:
    """(first slice, raw (X, Y, n) slab) in file order; NIfTI stores the last axis slowest, so a slab is one read."""
    x, y, z = image.shape[:3]
    slice_bytes = x * y * stored.itemsize
    step = max(1, SLAB_BYTES // slice_bytes)
    with ImageOpener(str(path)) as file:
        file.seek(cast(ArrayProxy, image.dataobj).offset)
        for start in range(0, z, step):
            n = min(step, z - start)
            data = file.read(n * slice_bytes)
            if len(data) != n * slice_bytes:
                raise EOFError(f"expected {z} slices, the file ends in slice {start + len(data) // slice_bytes + 1}")
            yield start, np.frombuffer(data, stored).reshape((x, y, n), order="F")
        file.read(1)  # only at its end does gzip compare the checksum
