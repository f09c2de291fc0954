"""What is doubtful about a scan that is to be synthesised: contrast in its blood, or no lungs in it."""

from __future__ import annotations

from collections.abc import Iterator

from ..common.coarse import coarse_grid
from ..common.errors import InputError
from ..common.hu import CONTRAST_BLOOD_HU
from ..transforms.contrast import GRID_MM, blood_of, is_enhanced
from ..transforms.lung_mask import compute_lung_mask
from ..volumes.nifti import Volume
from ..volumes.orientation import spacing_to_ras, to_ras


def remarks_on(volume: Volume) -> Iterator[str]:
    """Say, in a line each, what doesn't fit a chest CT without contrast."""
    blood = blood_of(volume)
    if is_enhanced(blood):
        yield (
            f"its blood has {blood:.0f} HU as with contrast, expected less than {CONTRAST_BLOOD_HU}; the network was "
            "trained on CTs without contrast: is this a CTA?"
        )
    if blood is None and not _has_lungs(volume):
        yield "no lungs are found in it, expected a chest CT; the network was trained on no other part of the body"


def _has_lungs(volume: Volume) -> bool:
    """Whether lungs are found, on a coarse grid."""
    ras, orientation = to_ras(volume.array, volume.affine)
    spacing = spacing_to_ras(volume.spacing, orientation)
    steps, mm = coarse_grid(spacing, GRID_MM)
    try:
        compute_lung_mask(ras[tuple(slice(None, None, step) for step in steps)], mm)
    except InputError:
        return False
    return True
