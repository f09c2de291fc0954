"""Does ``prepare virtual`` take the iodine out, and nothing else? ``python benchmarks/virtual_pairs.py``.

On phantom CTAs, whose true NCCT is known, printed is the error against the noise-free truth, in HU: in the vessels, at
their walls (within 2 mm of the border, to either side), elsewhere and in bone. The blood is given, its level is the
phantom's, and the noise that stays in the image is subtracted before, so that the figures are those of the removal.

The constants of the removal were chosen on the phantoms of seed 3; those of another seed are held out.

With ``--scans FILES``, contrast CTs of your own, the blood is found and a pair made of each with the default settings;
printed are the gates' figures, the time and the peak memory of the process so far, in GiB. With ``--timing FILE`` the
command's work on one scan is done on that one, resampled to 512 x 512 x 300 voxels: wall clock, process time and peak
memory. With ``--rims`` the gate for the rim at the walls measures true NCCTs of phantoms, virtual ones, and true
ones with a rim of known HU planted in the voxels on either side of the border: the limit must tell these apart.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ncct_cta.common.hu import AIR_HU, BONE_LOWER_HU, LUNG_UPPER_HU
from ncct_cta.phantom.cohort import make_case
from ncct_cta.prepare.virtual.blood import FoundBlood, find_blood
from ncct_cta.prepare.virtual.gates import WALL, measure
from ncct_cta.prepare.virtual.local import dilated, eroded
from ncct_cta.prepare.virtual.making import make_pair
from ncct_cta.prepare.virtual.removal import remove_iodine
from ncct_cta.prepare.virtual.variety import VirtualSettings, random_of
from ncct_cta.volumes.orientation import spacing_to_ras, to_ras
from ncct_cta.volumes.reading import read_volume

SHAPE, SPACING = (240, 184, 110), (1.2, 1.2, 2.0)
LARGE_SHAPE = (512, 512, 300)
RIMS_HU = (-40, -30, -20, -10, 10, 20, 30, 40)
WALL_MM = 2.0
ONE_SCAN = """
import sys
from pathlib import Path
from ncct_cta.prepare.scan_source import ScanSource
from ncct_cta.prepare.virtual.one_scan import prepare_scan
from ncct_cta.prepare.virtual.task import VirtualTask
from ncct_cta.prepare.virtual.variety import VirtualSettings
scan, output = map(Path, sys.argv[1:])
output.mkdir()
prepare_scan(VirtualTask("large", "large", output, VirtualSettings(), ScanSource(scan, None, "large")))
"""


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


def rims(seed: int, index: int, shape: tuple[int, int, int], spacing: Triple) -> dict[str, float]:
    """What the gate measures of a phantom's true NCCT, of its virtual one, and of planted rims; blood is given."""
    case, clean = (make_case(seed, index, shape=shape, spacing=spacing, noise=noise) for noise in (True, False))
    arrays = (case.ncct, case.cta, case.vessel, case.lung, clean.ncct)
    ncct, cta, blood, lung, truth = (to_ras(array, case.affine)[0] for array in arrays)
    blood, lung, nothing = blood > 0, lung > 0, np.zeros(blood.shape, bool)
    level = float(np.median(cta[eroded(blood, spacing, 4.0)]))
    bone = truth > BONE_LOWER_HU
    found = FoundBlood(blood, level, lung, (truth > LUNG_UPPER_HU) | lung, bone, nothing, nothing)
    pair = make_pair(cta, spacing, found, VirtualSettings(), random_of(0, str(index)))
    rim = dilated(blood, spacing, 1.0) & ~eroded(blood, spacing, 1.0)
    images = {"true": ncct, "virtual": pair.ncct} | {f"true {hu:+d} HU": ncct + hu * rim for hu in RIMS_HU}
    hu = cta.astype(np.float32)
    return {
        name: measure(hu, dataclasses.replace(pair, ncct=image.astype(np.float32)), found, spacing)[WALL]
        for name, image in images.items()
    }


def timing(path: Path) -> dict[str, float]:
    """The wall clock, process time and peak memory of a scan that is resampled to a large one."""
    scan = sitk.ReadImage(str(path))
    spacing = [edge * n / m for edge, n, m in zip(scan.GetSpacing(), scan.GetSize(), LARGE_SHAPE, strict=True)]
    geometry = (scan.GetOrigin(), spacing, scan.GetDirection())
    large = sitk.Resample(scan, LARGE_SHAPE, sitk.Transform(), sitk.sitkLinear, *geometry, AIR_HU, sitk.sitkInt16)
    with tempfile.TemporaryDirectory() as folder:
        sitk.WriteImage(large, f"{folder}/large.nii.gz")
        # The task in one process that is waited for: the command's own workers wouldn't be counted.
        words = ["-c", ONE_SCAN, f"{folder}/large.nii.gz", f"{folder}/out"]
        began = time.monotonic()
        subprocess.run([sys.executable, *words], check=True, env=os.environ.copy())
        seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": seconds, "process_seconds": used.ru_utime + used.ru_stime, "peak_gb": used.ru_maxrss / 1e6}


def shown(name: str, figures: dict[str, float]) -> None:
    """Print a line of figures."""
    print(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in figures.items()), flush=True)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=2, help="of each seed")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument(
        "--held-out", type=int, default=17, metavar="SEED", help="of phantoms that nothing was tuned on"
    )
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE)
    parser.add_argument("--spacing", type=float, nargs=3, default=SPACING)
    parser.add_argument("--scans", type=Path, nargs="+", default=[])
    parser.add_argument("--timing", type=Path, metavar="SCAN")
    parser.add_argument("--rims", action="store_true")
    options = parser.parse_args()
    size = (tuple(options.shape), tuple(options.spacing))
    for seed, name in ((options.seed, "phantom"), (options.held_out, "held-out phantom")):
        for index in range(options.phantoms):
            shown(f"{name} {index}", (rims if options.rims else phantom_errors)(seed, index, *size))
    for path in options.scans:
        scan = read_volume(path)
        hu, orientation = to_ras(scan.array, scan.affine)
        shown(path.name, scan_figures(path.name, hu, spacing_to_ras(scan.spacing, orientation)))
    if options.timing:
        shown("512 x 512 x 300", timing(options.timing))


if __name__ == "__main__":
    main()
