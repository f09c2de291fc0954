"""A blood mask of the user's own, from classes that TotalSegmentator names, instead of the found one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from ...common.errors import InputError
from ...volumes.nifti import Volume, case_name, read_mask

BLOOD_CLASSES = (
    "heart*",
    "aorta",
    "atrial_appendage_left",
    "pulmonary_vein",
    "pulmonary_artery",
    "superior_vena_cava",
    "inferior_vena_cava",
    "brachiocephalic_*",
    "subclavian_artery_*",
    "common_carotid_artery_*",
    "portal_vein_and_splenic_vein",
    "iliac_*",
    "lung_vessels",
)
# The heart as a whole, and its muscle, are more than blood.
NO_BLOOD = ("heart", "heart_myocardium")


def is_blood(name: str) -> bool:
    """Whether a class of this name is blood: ``aorta`` and ``heart_atrium_left`` are, ``heart_myocardium`` isn't."""
    return name not in NO_BLOOD and any(fnmatchcase(name, pattern) for pattern in BLOOD_CLASSES)


def blood_from_labels(labels: np.ndarray, names: Mapping[int, str]) -> np.ndarray:
    """Join the classes of a multi-label mask that are blood.

    Args:
        labels: (X, Y, Z) integers.
        names: the class of each label, as TotalSegmentator's class map has them.

    Returns:
        boolean, same shape.

    Raises:
        InputError: if none of the classes is blood.
    """
    chosen = [label for label, name in names.items() if is_blood(name)]
    _require(chosen, names.values())
    return np.isin(labels, chosen)


def blood_from_folder(folder: Path, like: Volume) -> np.ndarray:
    """Join the masks of a folder, a file per class, whose names are those of blood.

    Args:
        folder: with files such as ``aorta.nii.gz``.
        like: the CT whose grid the masks must have.

    Returns:
        boolean, (X, Y, Z) in the file's own axis order.

    Raises:
        InputError: if no file is a class of blood, or one doesn't fit the CT.
    """
    files = {case_name(path): path for path in sorted(folder.glob("*.nii*"))}
    chosen = [path for name, path in files.items() if is_blood(name)]
    _require(chosen, files)
    blood = np.zeros(like.shape, bool)
    for path in chosen:
        blood |= read_mask(path, like) > 0
    return blood


def _require(chosen: list[int] | list[Path], names: Iterable[str]) -> None:
    if not chosen:
        raise InputError(
            f"no class of blood among {', '.join(sorted(names)) or 'no masks'}; expected names such as aorta, "
            "heart_atrium_left or lung_vessels, as TotalSegmentator gives them"
        )
