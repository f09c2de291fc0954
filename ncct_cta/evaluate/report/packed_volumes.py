"""The volumes of the report's viewer: cropped, coarsened to a budget of bytes, and packed as text for a browser."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from isal import igzip
from scipy import ndimage
from skimage.transform import resize

from ...common.hu import AIR_HU
from ...common.keys import BODY
from ...common.panels import richest_slice
from ...data import Case
from ...metrics import CaseImages
from ...metrics.hallucination import FALSE_CODE, FOUND, MISSED_CODE, NO_VESSEL, vessel_codes
from ...volumes.nifti import Volume, read_ct, read_mask
from ...volumes.orientation import spacing_to_ras, to_ras
from ..prediction_files import read_prediction
from ..results import IDENTITY, Method

FINE_STEP_HU, COARSE_STEP_HU = 4, 8  # packing adds at most half of it; noise is above both
MARGIN_MM = 10.0  # of air kept around the body
GZIP_LEVEL = 2
# Lower limit for a packed CT: gives a first guess of the voxel size that is never too coarse.
LEAST_BYTES_PER_VOXEL = 0.1
LEAST_VESSEL = 0.3
# A smaller gain than this isn't worth another pass.
LEAST_COARSENING = 1.04


@dataclass(frozen=True)
class CaseVolumes:
    """What the viewer shows of a case, cropped to the body; all arrays in RAS+ order, (X, Y, Z).

    Args:
        images_hu: int16: the NCCT, the methods without the identity (it is the NCCT) in their order, the CTA; air
            outside the body.
        mip_region: boolean: voxels that the maximum intensity projection covers.
        spacing: voxel edges in mm.
        picture_slice: the axial slice with most of the lungs' vessels.
        layers: uint8 codes of the vessels, see ``hallucination.vessel_codes``: of each image but the CTA.
    """

    images_hu: tuple[np.ndarray, ...]
    mip_region: np.ndarray
    spacing: tuple[float, float, float]
    picture_slice: int
    layers: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class PackedVolume:
    """One volume as text.

    Args:
        text: base64 of gzip of the codes' low bytes, then their high bytes; see ``pack_volume``.
        difference: whether the codes hold the difference from the first volume or from the slice below.
    """

    text: str
    difference: bool


@dataclass(frozen=True)
class PackedCase:
    """A case for the browser.

    Args:
        volumes: in the order of ``CaseVolumes.images_hu``; the first stands alone.
        region: base64 of gzip of the MIP's region, one byte per voxel.
        shape: (X, Y, Z) voxels.
        spacing: voxel edges in mm.
        step_hu: HU between two neighbouring values; 4 or 8.
        layers: base64 of gzip of the vessels' codes, one byte per voxel, of each volume but the CTA.
    """

    volumes: tuple[PackedVolume, ...]
    region: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    step_hu: int
    layers: tuple[str, ...]

    @property
    def size(self) -> int:
        """Total length of the text in bytes."""
        return len(self.region) + sum(len(volume.text) for volume in self.volumes) + sum(map(len, self.layers))


def read_case(case: Case, methods: Sequence[Method], *, with_layers: bool = True) -> CaseVolumes:
    """Read the volumes that the viewer shows of a case.

    Args:
        case: with CTA; without masks the MIP covers the whole body.
        methods: with a prediction of the case.
        with_layers: whether to find the vessels of each, which takes as long as scoring them.

    Raises:
        ValueError: if the case has no CTA.
        InputError: if a file can't be read.
    """
    if case.cta is None:
        raise ValueError(f"case {case.name} has no CTA; an evaluation's case has one")
    volume = read_ct(case.ncct)
    array, orientation = to_ras(volume.array, volume.affine)
    spacing = spacing_to_ras(volume.spacing, orientation)
    lung, vessel = (_read_mask(path, volume) for path in (case.lung, case.vessel))
    cta = to_ras(read_ct(case.cta).array, volume.affine)[0]
    images = CaseImages(array, cta, lung=lung, vessel=vessel, spacing=spacing)
    body = images.whole(images.masks[BODY])
    region = lung | vessel  # no bone, which would hide the vessels behind it
    keep = grown(body, MARGIN_MM, spacing)
    box = bounding_box(keep)
    shown, layers = [], []
    for method in (None, *(method for method in methods if method.name != IDENTITY)):
        image = array
        if method is not None:
            image = to_ras(read_prediction(method, case.name, volume), volume.affine)[0]
        shown.append(in_air(image, keep, box))
        if with_layers:
            layers.append(images.whole(vessel_codes(images.compared_with(image)))[box])
    return CaseVolumes(
        (*shown, in_air(cta, keep, box)),
        (region if region.any() else body)[box],
        spacing,
        richest_slice((lung & vessel)[box]),
        tuple(layers),
    )


def fit_case(volumes: CaseVolumes, limit: int) -> PackedCase:
    """Pack a case as finely as the byte limit allows.

    The file's own voxels with steps of 4 HU if they fit, else with 8 HU, else coarser voxels with 8 HU, the same along
    every axis that isn't coarser already.

    Args:
        volumes: the case.
        limit: bytes of text; at least a few thousand.
    """
    voxels = sum(image.size for image in volumes.images_hu)
    # Base64 writes four characters for three bytes.
    guess = (voxels * LEAST_BYTES_PER_VOXEL * 4 / 3 / limit) ** (1 / 3)
    voxel, step = min(volumes.spacing) * max(guess, 1.0), FINE_STEP_HU if guess <= 1 else COARSE_STEP_HU
    while True:
        packed = _pack(volumes, voxel, step)
        if packed.size <= limit or max(packed.shape) == 1:
            return packed
        if step == COARSE_STEP_HU:
            shrinking = sum(edge <= voxel for edge in volumes.spacing)
            voxel *= max((packed.size / limit) ** (1 / shrinking), LEAST_COARSENING)
        step = COARSE_STEP_HU


def pack_volume(steps: np.ndarray, reference: np.ndarray | None) -> PackedVolume:
    """Pack a volume of small integers as text.

    Neighbouring voxels and methods are similar, so only differences are stored: zigzag codes (0, -1, 1, -2 become
    0, 1, 2, 3) of 16 bits, x fastest, all low bytes before all high bytes, gzip, base64.

    Args:
        steps: (X, Y, Z) int16.
        reference: of the same shape; differences are taken from it if that gives a shorter text than taking them from
            the slice below (the first slice: from 0).
    """
    candidates = [PackedVolume(_text(_zigzag(np.diff(steps, axis=2, prepend=np.int16(0)))), False)]
    if reference is not None:
        candidates.append(PackedVolume(_text(_zigzag(steps - reference)), True))
    return min(candidates, key=lambda packed: len(packed.text))


def _pack(volumes: CaseVolumes, voxel: float, step: int) -> PackedCase:
    shape, spacing = _coarse_grid(volumes.mip_region.shape, volumes.spacing, voxel)
    packed: list[PackedVolume] = []
    first = None
    for image in volumes.images_hu:
        steps = np.rint(_resampled(image, shape) / step).astype(np.int16)
        packed.append(pack_volume(steps, first))
        first = steps if first is None else first
    region = _resampled(volumes.mip_region, shape) >= 0.5
    text = _base64_gzip(region.astype(np.uint8).ravel(order="F"))
    layers = tuple(_base64_gzip(_resampled_codes(layer, shape).ravel(order="F")) for layer in volumes.layers)
    return PackedCase(tuple(packed), text, shape, spacing, step, layers)


def _coarse_grid(
    shape: tuple[int, ...], spacing: tuple[float, float, float], voxel: float
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """The grid of about ``voxel`` mm with the same extent; axes that are coarser already stay."""
    x, y, z = (max(1, round(n * size / max(voxel, size))) for n, size in zip(shape, spacing, strict=True))
    a, b, c = (n * size / new for n, size, new in zip(shape, spacing, (x, y, z), strict=True))
    return (x, y, z), (a, b, c)


def _resampled(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Blur a volume before it is coarsened, to avoid aliasing; float32."""
    image = image.astype(np.float32)
    if image.shape == shape:
        return image
    return resize(image, shape, order=1, mode="edge", anti_aliasing=True, preserve_range=True)


def _resampled_codes(layer: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The most frequent vessel of each coarser voxel that is vessel by at least ``LEAST_VESSEL``: small ones stay."""
    if layer.shape == shape:
        return layer
    shares = np.stack([_resampled(layer == code, shape) for code in (FOUND, MISSED_CODE, FALSE_CODE)])
    codes = shares.argmax(axis=0) + FOUND
    return np.where(shares.sum(axis=0) >= LEAST_VESSEL, codes, NO_VESSEL).astype(np.uint8)


def in_air(image: np.ndarray, keep: np.ndarray, box: tuple[slice, ...]) -> np.ndarray:
    """The image in a box as int16 HU, air where it isn't kept."""
    return np.where(keep[box], np.rint(image[box]), AIR_HU).astype(np.int16)


def _zigzag(values: np.ndarray) -> np.ndarray:
    return ((values << 1) ^ (values >> 15)).astype(np.uint16)


def _text(codes: np.ndarray) -> str:
    low_and_high = codes.ravel(order="F").astype("<u2").view(np.uint8).reshape(-1, 2)
    return _base64_gzip(low_and_high.T)


def _base64_gzip(data: np.ndarray) -> str:
    return base64.b64encode(igzip.compress(data.tobytes(), GZIP_LEVEL, mtime=0)).decode("ascii")  # no clock in it


def _read_mask(path: Path | None, like: Volume) -> np.ndarray:
    """Read a boolean mask in RAS+ order; all False if there is none."""
    mask = read_mask(path, like) > 0 if path is not None else np.zeros(like.shape, bool)
    return to_ras(mask, like.affine)[0]


def grown(mask: np.ndarray, distance_mm: float, spacing: tuple[float, float, float]) -> np.ndarray:
    """Dilate a mask by a distance along each axis separately."""
    size = [1 + 2 * round(distance_mm / edge) for edge in spacing]
    return ndimage.maximum_filter(mask, size=size, mode="constant")


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the bounding box of a mask; the whole grid if it is empty."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    return found[0] if found else tuple(slice(None) for _ in mask.shape)
