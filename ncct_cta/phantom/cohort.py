"""A cohort of synthetic chest CTs: NCCT, CTA, lung mask and vessel mask of patients that never existed.

The demo and the tests run on it. Only blood differs between a case's noise-free NCCT and CTA. Anatomy is
drawn for a field of view of 336 x 256 x 256 mm and scaled to the one requested. "Left heart" below is the blood of
the pulmonary veins, left chambers and aorta, "right heart" that of the vena cava, right chambers and pulmonary
arteries; the two enhance differently, and differently from case to case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from ..common.errors import InputError
from ..common.hu import to_int16_hu
from ..common.progress import progress_bar
from .anatomy import REFERENCE_FOV_MM, Anatomy, Grid, cavity, chambers, draw_anatomy, heart_wall
from .anatomy import lungs as lung_distances
from .defaults import DEFAULT_SHAPE, DEFAULT_SPACING, SMALLEST_SHAPE
from .motion import Breathing, largest_motion
from .tissues import paint_slab
from .vessels import draw_tubes
from .writing import write_case, write_datalist

NOISE_SIGMA_HU = (10.0, 15.0)
# Correlation of the noise in voxels (a reconstruction kernel works in the slice plane), of the texture in mm.
NOISE_CORRELATION = (0.7, 0.7, 0.35)
TEXTURE_CORRELATION_MM = 2.6
SLAB_SLICES = 8
# One independent random stream per purpose, so that a finer grid or motion doesn't change the rest of a case.
_STREAMS = {name: number for number, name in enumerate(("anatomy", "tubes", "texture", "ncct", "cta", "motion", "air"))}


@dataclass(frozen=True)
class PhantomCase:
    """One patient; all arrays are on the NCCT's grid, whose axes point to the patient's left, back and head.

    Args:
        ncct: (X, Y, Z) int16 HU, without contrast.
        cta: (X, Y, Z) int16 HU, with contrast, in the breathing state of the CTA.
        lung: (X, Y, Z) uint8, both lungs with the vessels inside them, without trachea, main bronchi and hila.
        vessel: (X, Y, Z) uint8, voxels at least half filled with blood, heart chambers included.
        affine: (4, 4), voxel index to RAS+ mm, as NIfTI has it.
        displacement_mm: (X, Y, Z, 3) float32 or None without motion. Its vector d at voxel centre p of the NCCT, in
            LPS mm (to the left, back, head), says that what is at p in the NCCT is at p + d in the CTA:
            ``cta_aligned(p) = cta(p + d(p))``, the convention of an ITK displacement field that resamples the CTA
            onto the NCCT.
        cta_aligned: (X, Y, Z) int16 HU or None: the CTA in the NCCT's breathing state, equal to ``cta`` of the same
            case made without motion; its noise is the same field as that of ``cta``, not moved.
    """

    ncct: np.ndarray
    cta: np.ndarray
    lung: np.ndarray
    vessel: np.ndarray
    affine: np.ndarray
    displacement_mm: np.ndarray | None = None
    cta_aligned: np.ndarray | None = None


def make_case(
    seed: int,
    index: int = 0,
    *,
    shape: tuple[int, int, int] = DEFAULT_SHAPE,
    spacing: tuple[float, float, float] = DEFAULT_SPACING,
    motion_mm: float = 0.0,
    air: int = 0,
    noise: bool = True,
) -> PhantomCase:
    """Make one patient; the result depends on the arguments only.

    Args:
        seed: seed of the cohort, not negative.
        index: index of the case in the cohort.
        shape: voxels along x, y, z.
        spacing: mm along x, y, z.
        motion_mm: largest displacement between NCCT and CTA, in mm; 0 for a perfectly aligned pair.
        air: largest number of voxels that the field of view is wider on each side, in plane; drawn for each case.
        noise: False for the same patient without noise.

    Raises:
        InputError: if the grid is too small or the motion too large for it.
    """
    _check_request(seed, shape, spacing, motion_mm, air)

    def stream(name: str) -> np.random.Generator:
        return np.random.default_rng([seed, index, _STREAMS[name]])

    body_extent = _extent(shape, spacing)
    margin = int(stream("air").integers(air + 1))
    shape = (shape[0] + 2 * margin, shape[1] + 2 * margin, shape[2])
    grid = _grid(shape, spacing, body_extent)
    anatomy = draw_anatomy(stream("anatomy"))
    bloodless, lung, left, right = _paint(grid, anatomy, stream)
    vessel = (left + right >= 0.5).astype(np.uint8)
    ncct = bloodless + (left + right) * (anatomy.hu("blood") - bloodless)
    aligned = bloodless + left * (anatomy.left_heart_hu - bloodless) + right * (anatomy.right_heart_hu - bloodless)
    ncct_hu = to_int16_hu(ncct + _noise(stream("ncct"), shape) * noise)
    cta_noise = _noise(stream("cta"), shape) * noise
    aligned_hu = to_int16_hu(aligned + cta_noise)
    affine = _affine(shape, spacing)
    if motion_mm == 0:
        return PhantomCase(ncct_hu, aligned_hu, lung, vessel, affine)
    breathing = Breathing(stream("motion"), grid, spacing, motion_mm)
    cta_hu = to_int16_hu(breathing.warp(aligned) + cta_noise)
    field = breathing.displacement(slice(0, shape[2]))
    return PhantomCase(ncct_hu, cta_hu, lung, vessel, affine, field, aligned_hu)


def write_cohort(
    output: Path,
    *,
    cases: int,
    seed: int,
    shape: tuple[int, int, int] = DEFAULT_SHAPE,
    spacing: tuple[float, float, float] = DEFAULT_SPACING,
    motion_mm: float = 0.0,
    air: int = 0,
) -> Path:
    """Write a cohort as NIfTI with MONAI's datalist; the same arguments give the same bytes on one machine.

    A case's files are ``phantom000_{ncct,cta,lung,vessel}.nii.gz`` and, with motion, ``_cta_aligned`` and
    ``_displacement``: shape (X, Y, Z, 1, 3), intent vector, LPS mm, as ITK and ANTs store displacement fields; see
    ``PhantomCase.displacement_mm`` for its meaning.

    Args:
        output: folder, made if missing.
        cases: how many patients; about 15 % each go to validation and testing, at least one from three cases on.
        seed: of the cohort; a case doesn't depend on the number of cases.
        shape: voxels along x, y, z.
        spacing: mm along x, y, z.
        motion_mm: see ``make_case``.
        air: see ``make_case``: scans differ in how much air they show around the patient.

    Returns:
        The path of ``datalist.json``, whose own paths are relative to its folder.

    Raises:
        InputError: if a value is invalid or the folder can't be written.
    """
    if cases < 1:
        raise InputError(f"{cases} cases: a cohort needs at least 1")
    _check_request(seed, shape, spacing, motion_mm, air)
    output = Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        entries = []
        for index in progress_bar(range(cases), desc="phantom", unit="case"):
            case = make_case(seed, index, shape=shape, spacing=spacing, motion_mm=motion_mm, air=air)
            entries.append(write_case(output, f"phantom{index:03d}", _volumes(case), case.affine))
        return write_datalist(output, entries)
    except OSError as error:
        raise InputError(f"can't write to {output}: {error.strerror or error}; choose another folder") from error


def _check_request(
    seed: int, shape: tuple[int, int, int], spacing: tuple[float, float, float], motion_mm: float, air: int
) -> None:
    if air < 0:
        raise InputError(f"{air} voxels of air: 0 or more are needed")
    if seed < 0:
        raise InputError(f"seed {seed}: it must not be negative")
    if any(size < least for size, least in zip(shape, SMALLEST_SHAPE, strict=True)):
        raise InputError(f"shape {shape}: the phantom needs at least {SMALLEST_SHAPE} voxels")
    if not all(np.isfinite(size) and size > 0 for size in spacing):
        raise InputError(f"spacing {spacing}: millimetres above 0 are needed")
    limit = largest_motion(_extent(shape, spacing))
    if not 0 <= motion_mm <= limit:
        raise InputError(f"motion of {motion_mm} mm: this field of view takes 0 to {limit:.1f} mm without folding")


def _extent(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    return (shape[0] * spacing[0], shape[1] * spacing[1], shape[2] * spacing[2])


def _grid(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], body_extent: tuple[float, float, float]
) -> Grid:
    """The voxel centres in the phantom's mm: the body fills ``body_extent`` (mm), in plane without distortion."""
    extents = zip(body_extent[:2], REFERENCE_FOV_MM[:2], strict=True)
    plane = min(extent / reference for extent, reference in extents)
    voxel = (spacing[0] / plane, spacing[1] / plane, REFERENCE_FOV_MM[2] / shape[2])
    x = ((np.arange(shape[0]) - (shape[0] - 1) / 2) * voxel[0]).astype(np.float32)
    y = ((np.arange(shape[1]) - (shape[1] - 1) / 2) * voxel[1]).astype(np.float32)
    z = ((np.arange(shape[2]) + 0.5) * voxel[2]).astype(np.float32)
    return Grid(x[:, None, None], y[None, :, None], z[None, None, :], voxel)


def _paint(
    grid: Grid, anatomy: Anatomy, stream: Callable[[str], np.random.Generator]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Paint a case slab by slab: HU without blood, lung mask, fractions of left and right heart's blood."""
    shape = (grid.x.size, grid.y.size, grid.z.size)
    tubes = draw_tubes(stream("tubes"), grid, lambda rng, side, count: _lung_points(rng, anatomy, side, count))
    texture = _correlated(stream("texture"), shape, [TEXTURE_CORRELATION_MM / size for size in grid.voxel])
    bloodless, left, right = (np.empty(shape, np.float32) for _ in range(3))
    lung = np.empty(shape, np.uint8)
    for start in range(0, shape[2], SLAB_SLICES):
        span = slice(start, min(start + SLAB_SLICES, shape[2]))
        slab = paint_slab(grid, anatomy, tubes, span, texture[..., span])
        bloodless[..., span], lung[..., span] = slab.bloodless_hu, slab.lung >= 0.5
        left[..., span], right[..., span] = slab.left_heart, slab.right_heart
    return bloodless, lung, left, right


def _lung_points(rng: np.random.Generator, anatomy: Anatomy, side: int, count: int) -> np.ndarray:
    """Draw (count, 3) points evenly inside the right (-1) or left (1) lung, a few mm from its surface."""
    found = np.empty((0, 3))
    while len(found) < count:
        points = rng.uniform((0, -110, 0), (140, 110, REFERENCE_FOV_MM[2]), (4 * count + 64, 3)) * (side, 1, 1)
        at = Grid(points[:, 0], points[:, 1], points[:, 2], (1.0, 1.0, 1.0))
        heart = heart_wall(chambers(at, anatomy))
        distance = lung_distances(at, anatomy, cavity(at, anatomy), heart)[(side + 1) // 2]
        found = np.concatenate([found, points[distance < -4]])
    return found[:count]


def _correlated(
    rng: np.random.Generator, shape: tuple[int, ...], sigma_voxels: Sequence[float], amplitude: float = 1.0
) -> np.ndarray:
    """Spatially correlated Gaussian noise of zero mean and standard deviation ``amplitude``, float32."""
    noise = gaussian_filter(rng.standard_normal(shape, np.float32), sigma_voxels, mode="wrap", truncate=3.0)
    noise -= noise.mean()
    noise *= amplitude / float(noise.std())
    return noise


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return _correlated(rng, shape, NOISE_CORRELATION, amplitude=float(rng.uniform(*NOISE_SIGMA_HU)))


def _affine(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> np.ndarray:
    """A scanner's axes: index x runs to the patient's left, y to the back (negative in RAS), z to the head."""
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = (shape[0] - 1) / 2 * spacing[0], (shape[1] - 1) / 2 * spacing[1] - 158.5, -412.5
    return affine


def _volumes(case: PhantomCase) -> dict[str, np.ndarray]:
    """The images written for a case, by file name suffix."""
    volumes = {"ncct": case.ncct, "cta": case.cta, "lung": case.lung, "vessel": case.vessel}
    if case.cta_aligned is not None and case.displacement_mm is not None:
        # NIfTI keeps vectors on the fifth axis; the fourth is time.
        volumes |= {"cta_aligned": case.cta_aligned, "displacement": case.displacement_mm[:, :, :, None, :]}
    return volumes
