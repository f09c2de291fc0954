"""Does ``prepare virtual`` take the iodine out, and nothing else? ``python benchmarks/virtual_pairs.py``.

On phantom CTAs, whose true NCCT is known, printed is the error against the noise-free truth, in HU: in the vessels, at
their walls (within 2 mm of the border, to either side), elsewhere and in bone. The blood is given, its level is the
phantom's, and the noise that stays in the image is subtracted before, so that the figures are those of the removal.

With ``--scans FILES``, contrast CTs of your own, the blood is found and a pair made of each with the default settings;
printed are the gates' figures, the time and the peak memory of the process so far, in GiB. With ``--large`` the same of
a phantom of 512 x 512 x 300 voxels.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ncct_cta.common.hu import BONE_LOWER_HU
from ncct_cta.phantom.cohort import make_case
from ncct_cta.prepare.virtual.blood import find_blood
from ncct_cta.prepare.virtual.gates import measure
from ncct_cta.prepare.virtual.local import dilated, eroded
from ncct_cta.prepare.virtual.making import make_pair
from ncct_cta.prepare.virtual.removal import remove_iodine
from ncct_cta.prepare.virtual.variety import VirtualSettings, random_of
from ncct_cta.volumes.orientation import spacing_to_ras, to_ras
from ncct_cta.volumes.reading import read_volume

SHAPE, SPACING = (240, 184, 110), (1.2, 1.2, 2.0)
LARGE_SHAPE, LARGE_SPACING = (512, 512, 300), (0.7, 0.7, 1.0)
WALL_MM = 2.0


Triple = tuple[float, float, float]


def phantom_errors(seed: int, index: int, shape: tuple[int, int, int], spacing: Triple) -> dict[str, float]:
    """Mean absolute errors of one phantom in HU by place."""
    noisy, clean = (make_case(seed, index, shape=shape, spacing=spacing, noise=noise) for noise in (True, False))
    cta, truth = noisy.cta.astype(np.float32), clean.ncct.astype(np.float32)
    blood, lung, bone = noisy.vessel > 0, noisy.lung > 0, truth > BONE_LOWER_HU
    inside, near = eroded(blood, spacing, WALL_MM), dilated(blood, spacing, WALL_MM)
    removed = remove_iodine(
        cta,
        blood,
        bone,
        lung,
        spacing,
        level_hu=float(np.median(cta[inside])),
        target_hu=float(np.median(truth[inside])),
    )
    stayed = (cta - clean.cta) * np.sqrt(1 - removed.lost**2)
    error = np.abs(removed.hu - stayed - truth)
    places = {"vessels": blood, "vessels' inside": inside, "walls": near & ~inside, "elsewhere": ~blood, "bone": bone}
    return {name: float(error[place].mean()) for name, place in places.items()}


def scan_figures(name: str, hu: np.ndarray, spacing: Sequence[float]) -> dict[str, float]:
    """The gates' figures of a contrast CT, seconds and GiB."""
    began = time.monotonic()
    found = find_blood(hu, spacing)
    pair = make_pair(hu, spacing, found, VirtualSettings(), random_of(0, name))
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {**measure(hu.astype(np.float32), pair, found, spacing), "seconds": seconds, "peak_gib": peak}


def shown(name: str, figures: dict[str, float]) -> None:
    """Print a line of figures."""
    print(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in figures.items()), flush=True)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=2)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE)
    parser.add_argument("--spacing", type=float, nargs=3, default=SPACING)
    parser.add_argument("--scans", type=Path, nargs="+", default=[])
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    for index in range(options.phantoms):
        shown(f"phantom {index}", phantom_errors(options.seed, index, tuple(options.shape), tuple(options.spacing)))
    for path in options.scans:
        scan = read_volume(path)
        hu, orientation = to_ras(scan.array, scan.affine)
        shown(path.name, scan_figures(path.name, hu, spacing_to_ras(scan.spacing, orientation)))
    if options.large:
        case = make_case(options.seed, shape=LARGE_SHAPE, spacing=LARGE_SPACING)
        hu, _ = to_ras(case.cta, case.affine)
        shown("512 x 512 x 300", scan_figures("large", hu, LARGE_SPACING))


if __name__ == "__main__":
    main()
