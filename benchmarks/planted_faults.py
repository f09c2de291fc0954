"""Are invented and erased vessels measured by their volume, and what does noise change: faults put into a CTA.

    python benchmarks/planted_faults.py                    a phantom, voxels of 1.7 x 1.7 x 3 mm
    python benchmarks/planted_faults.py --shape 96 96 64   coarser voxels
    python benchmarks/planted_faults.py --pairs FOLDER     your own pairs

The "prediction" is the CTA with a tube of 4 mm and 350 HU where the lung has most room, and with the NCCT in the
patient's right half, whose vessels are thereby erased. Wanted: the tube's volume and the erased vessels' within 10 %,
and changes of at most 2 % by white noise of 20 HU, drawn three times: the largest is printed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from ncct_cta.data import Case, read_case_list
from ncct_cta.evaluate.results import DEFAULT_WINDOW
from ncct_cta.metrics import CaseImages, columns, scores
from ncct_cta.metrics.tissues import vessels_of_cta
from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.volumes.nifti import read_ct, read_mask
from ncct_cta.volumes.orientation import spacing_to_ras, to_ras

TUBE_MM, TUBE_LENGTH_MM, TUBE_HU, NOISE_HU = 4.0, 24.0, 350, 20
DRAWS = 3
PARTS = 10  # of a voxel's edge, to draw partial volume
NAMES = ("false_vessel_ml", "missed_vessel_ml", "lung_vessel_detail")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, metavar="FOLDER", help="default: a phantom")
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 200, 100), help="voxels of the phantom")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not options.pairs:
            edge = 340 / options.shape[0]
            write_cohort(
                Path(folder), cases=1, seed=0, shape=tuple(options.shape), spacing=(edge, edge, 3 / 1.7 * edge)
            )
        for split in read_case_list(options.pairs or folder).values():
            for case in split:
                measure(case)


def measure(case: Case) -> None:
    """Plant the faults in one pair and print what is measured of them."""
    ncct = read_ct(case.ncct)
    files = [ncct.array, read_ct(case.cta).array, *(read_mask(path, ncct) for path in (case.lung, case.vessel))]
    arrays = [to_ras(array, ncct.affine)[0] for array in files]
    spacing = spacing_to_ras(ncct.spacing, to_ras(ncct.array, ncct.affine)[1])
    images = CaseImages(arrays[0], arrays[1], lung=arrays[2], vessel=arrays[3], spacing=spacing)
    found = images.once(vessels_of_cta)
    tube = draw_tube(images.masks["lung"] & ~found.faint, spacing)
    half = tube.shape[0] // 2
    prediction = images.cta.astype(np.float32)
    prediction[half:] = images.ncct[half:]
    prediction += tube * (TUBE_HU - prediction)
    voxel_ml = float(np.prod(spacing)) / 1000
    planted = {
        "false_vessel_ml": float(tube.sum()) * voxel_ml,
        "missed_vessel_ml": found.percent[half:][found.faint[half:]].sum(dtype=float) / 100 * voxel_ml,
    }
    wanted = [column for column in columns(DEFAULT_WINDOW) if column.name in NAMES]
    clean, *noisy = (
        scores(images.compared_with(images.whole(prediction + noise)), wanted)
        for noise in (0, *(NOISE_HU * normal(seed, prediction.shape) for seed in range(DRAWS)))
    )
    print(f"{case.name}, voxels of {' x '.join(f'{edge:.3g}' for edge in spacing)} mm")
    for name in NAMES:
        largest = max((each[name] / clean[name] - 1 for each in noisy), key=abs)
        ratio = f"{clean[name] / planted[name]:6.3f} of what was planted" if name in planted else " " * 29
        print(f"  {name:<20}{clean[name]:8.3f}  {ratio}, changed by noise: {largest:+.2%}")


def normal(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """White noise of SD 1."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def draw_tube(free: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """The share of each voxel within an upright tube in the middle of the largest free space."""
    middle = np.unravel_index(int(distance_transform_edt(free, sampling=spacing).argmax()), free.shape)
    x, y, z = (_within_voxels(n, edge) - at * edge for n, edge, at in zip(free.shape, spacing, middle, strict=True))
    across = (np.hypot(x[:, None], y) < TUBE_MM / 2).reshape(len(free), PARTS, -1, PARTS).mean(axis=(1, 3))
    along = (np.abs(z) < TUBE_LENGTH_MM / 2).reshape(-1, PARTS).mean(axis=1)
    return across[..., None] * along


def _within_voxels(count: int, edge: float) -> np.ndarray:
    """The middles of the parts of each voxel along an axis, in mm."""
    return ((np.arange(count * PARTS) + 0.5) / PARTS - 0.5) * edge


if __name__ == "__main__":
    main()
