"""CT volumes in NIfTI files: reading, with all checks (``nifti_write`` writes them)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from ..common.errors import InputError
from ..common.hu import CT_MUST_REACH_HU
from .affines import affine_mm, corners_apart, require_affine, warn_of_odd_geometry
from .hu_check import require_hu
from .nifti_file import GZIP_ERROR, MIN_EDGE_VOXELS, NiftiHeader, open_nifti, read_voxels

SUFFIXES = (".nii.gz", ".nii", ".img.gz", ".img")  # the last two with their .hdr beside them
ONE_FILE_SUFFIXES = (".nrrd", ".mha")  # .nhdr and .mhd have their voxels elsewhere: no digest of theirs tells the scan
# Names of files that say what they hold and not of whom.
KINDS_OF_IMAGE = ("ncct", "ct", "native", "noncontrast", "non_contrast", "image", "img", "volume", "scan", "series")
# Two grids count as equal if no corner of the volume moves by more than this fraction of a voxel: far above what
# float32 headers and quaternions lose to rounding, far below what matters anatomically.
GRID_TOLERANCE_VOXELS = 0.01
READ_ERRORS = (HeaderDataError, OSError, EOFError, GZIP_ERROR, ValueError, OverflowError)
MOST_OF_A_REASON = 120  # characters


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
        return affine_mm(self.header)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edges along X, Y and Z in mm."""
        x, y, z = nib.affines.voxel_sizes(self.affine)
        return float(x), float(y), float(z)


def header_from_affine(affine: np.ndarray, shape: tuple[int, ...]) -> NiftiHeader:
    """A NIfTI-1 header of int16 HU with this geometry in its sform and qform, code "scanner", in mm.

    Args:
        affine: (4, 4), voxel indices to RAS+ mm.
        shape: (X, Y, Z).
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    return header


def volume_from(hu: np.ndarray, affine: np.ndarray, path: str | Path) -> Volume:
    """A volume from HU and a grid.

    Args:
        hu: (X, Y, Z) int16 HU.
        affine: (4, 4), voxel indices to RAS+ mm.
        path: name of the volume in messages.
    """
    return Volume(hu, header_from_affine(affine, hu.shape), Path(path), hu.shape)


def read_ct(path: str | Path) -> Volume:
    """Read a CT in HU.

    Raises:
        InputError: if the file is missing, damaged or not NIfTI, if it isn't a single 3-D channel of at least
            ``MIN_EDGE_VOXELS`` along each axis, if voxels are NaN or infinite, or if the values can't be HU.
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
    """Return the shape of a NIfTI file from its header alone.

    Raises:
        InputError: if there is no readable header.
    """
    with _faults_named(Path(path)):
        return open_nifti(Path(path)).shape


def read_spacing(path: str | Path) -> tuple[float, ...]:
    """Return the voxel size of a NIfTI file along its three axes from its header alone; otherwise as ``read_shape``."""
    with _faults_named(Path(path)):
        return tuple(map(float, open_nifti(Path(path)).header.get_zooms()[:3]))


def require_same_grid(a: Volume, b: Volume, *, names: Sequence[str] = ("NCCT", "CTA"), case: str | None = None) -> None:
    """Check that two volumes share one voxel grid (see ``GRID_TOLERANCE_VOXELS``).

    Args:
        a: a volume.
        b: another one.
        names: what the error calls the two.
        case: the case's name, for the error.

    Raises:
        InputError: if the shapes differ, or if any corner of one lies away from that of the other.
    """
    prefix = f"case {case}: " if case is not None else ""
    remedy = "resample them onto one grid (python -m ncct_cta.prepare does)"
    if a.shape != b.shape:
        raise InputError(f"{prefix}{names[0]} is {a.shape}, {names[1]} is {b.shape}; {remedy}")
    distance = corners_apart(a.affine, b.affine, a.shape)
    if distance > GRID_TOLERANCE_VOXELS * min(a.spacing):
        raise InputError(
            f"{prefix}{names[0]} and {names[1]} have one shape {a.shape}, but their affines place a corner "
            f"{distance:.3g} mm apart, expected 0; {remedy}"
        )


def case_name(path: str | Path) -> str:
    """Return the case that a file belongs to: its name without .nii, .nii.gz, .nrrd or .mha and a trailing _ncct.

    Where that is the kind of image alone, as in ``P003/NCCT.nii.gz``, it is the folder's name.

    >>> case_name("scans/patient.17.b_ncct.nii.gz"), case_name("scans/P003/NCCT.nii.gz")
    ('patient.17.b', 'P003')
    """
    name = Path(path).name
    suffix = scan_suffix(path)
    stem = name[: len(name) - len(suffix)] if suffix else name
    if stem.lower() in KINDS_OF_IMAGE and Path(path).parent.name:
        return Path(path).parent.name
    return stem.removesuffix("_ncct") or stem


def nifti_suffix(path: str | Path) -> str:
    """The one of ``SUFFIXES`` that the path ends in (in any case of letters), else an empty string."""
    return next((suffix for suffix in SUFFIXES if Path(path).name.lower().endswith(suffix)), "")


def scan_suffix(path: str | Path) -> str:
    """The ending of a file that holds a whole scan: one of ``SUFFIXES``, ``.nrrd`` or ``.mha``; else empty."""
    suffix = Path(path).suffix
    return nifti_suffix(path) or (suffix if suffix.lower() in ONE_FILE_SUFFIXES else "")


def _read(path: Path) -> Volume:
    if not path.exists():
        raise InputError(f"{path}: there is no such file; check the path")
    if path.is_dir() and nifti_suffix(path):
        raise InputError(f"{path}: this is a folder, expected a NIfTI file; give the file in it")
    if path.is_dir() or not (nifti_suffix(path) or path.suffix.lower() == ".hdr"):
        raise InputError(f"{path}: expected a NIfTI file (.nii or .nii.gz); python -m ncct_cta.prepare converts DICOM")
    with _faults_named(path):
        file = open_nifti(path)
        _check_layout(path, file.shape, file.dtype)
        require_affine(path, file.header)
        warn_of_odd_geometry(path, file.header, file.shape)
        array = read_voxels(file)
    return Volume(array=array, header=file.header, path=path, stored_shape=file.shape)


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    """Turn whatever reading a damaged or unreadable file raises into one line."""
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: its voxels don't fit into memory; crop it, or resample it coarser") from error
    except READ_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(f"{path}: can't be read ({error.strerror}); check its permissions and the disk") from error
        reason = " ".join(str(error).split())[:MOST_OF_A_REASON]
        raise InputError(f"{path}: not readable as NIfTI, damaged or cut short ({reason}); copy it again") from error


def _check_layout(path: Path, shape: tuple[int, ...], stored: np.dtype) -> None:
    if stored.kind not in "iuf":
        kind = "RGB" if stored.kind == "V" else str(stored)
        raise InputError(f"{path}: the voxels are {kind}, expected one number each; give the CT in HU")
    if any(n != 1 for n in shape[3:]):
        raise InputError(f"{path}: the shape is {shape}, expected one channel (X, Y, Z); give one volume a file")
    if len(shape) < 3 or min(shape[:3]) < MIN_EDGE_VOXELS:
        raise InputError(
            f"{path}: the shape is {shape}, expected three axes (X, Y, Z), none of them empty; give the series"
        )
