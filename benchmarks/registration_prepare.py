"""Does prepare undo a known displacement, how long does it take, and how much memory? Real pairs or phantoms.

    python benchmarks/registration_prepare.py --pairs FOLDER     pairs that lie on each other: {case}_{ncct,cta,...}
    python benchmarks/registration_prepare.py                    a phantom, coarse: shows that it runs

The CTA of each pair is displaced: 5 mm, 3 degrees, and a breath of up to 8 mm that is largest at the diaphragm (see
``ncct_cta.prepare.pairs.known_motion``). Printed is what is left of it after ``align``: the distance between where a
point of the NCCT should be found in the displaced CTA and where the composed transform says, over points inside the
lungs and in vessels; the lungs' overlap; the field's smallest Jacobian determinant; time and memory of all that
``prepare pairs`` does with a pair but reading and drawing. Wanted: see ``WANTED``.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ncct_cta.common.hu import to_int16_hu
from ncct_cta.metrics import dice
from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.prepare.pairs.alignment import align
from ncct_cta.prepare.pairs.grids import lung_mask_of, mask_array, mask_image, on_grid, resample_hu
from ncct_cta.prepare.pairs.known_motion import KnownMotion, mask_points
from ncct_cta.prepare.pairs.quality import measure
from ncct_cta.volumes.itk_images import to_sitk
from ncct_cta.volumes.nifti import Volume, read_ct

WANTED = "errors at most 1.5 mm, lung Dice at least 0.97, smallest determinant above 0, 180 s and 6 GB at 1.4 mm"
POINTS = 20_000
COLUMNS = (
    "case", "displaced by, lungs", "vessels", "error in mm, lungs", "vessels", "lung Dice before", "after",
    "least determinant", "wall s", "CPU s", "peak GB",
)  # fmt: skip


def report(ncct: Volume, cta: Volume, lung: sitk.Image, vessel: sitk.Image, options: argparse.Namespace) -> list[str]:
    """Displace, align, and say in cells of the table what is left."""
    motion = KnownMotion(lung, shift_mm=options.shift_mm, degrees=options.degrees, breath_mm=options.breath_mm)
    moved = motion.displace(to_sitk(cta))
    displaced = replace(cta, array=to_int16_hu(sitk.GetArrayFromImage(moved).transpose(2, 1, 0)))
    wall, cpu = time.perf_counter(), time.process_time()
    fixed, moving = to_sitk(ncct), to_sitk(displaced)
    lungs = mask_image(lung_mask_of(ncct), fixed), mask_image(lung_mask_of(displaced), moving)
    alignment = align(fixed, moving, *lungs, deformable=not options.no_deformable, seed=options.seed)
    resample_hu(moving, fixed, alignment.transform)
    scores = measure(fixed, moving, *lungs, alignment)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    before = [np.linalg.norm(motion.inverse(points) - points, axis=1).mean() for points in map(sample, (lung, vessel))]
    after = [errors(points, motion, alignment.transform).mean() for points in map(sample, (lung, vessel))]
    overlap = dice(mask_array(lungs[0]), mask_array(on_grid(lungs[1], lungs[0], alignment.transform)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    figures = [
        *before,
        *after,
        scores["lung_dice_before"],
        overlap,
        least_determinant(alignment.field),
        wall,
        cpu,
        peak,
    ]
    return [f"{figure:.{3 if 4 <= column <= 5 else 2}f}" for column, figure in enumerate(figures)]


def sample(mask: sitk.Image) -> np.ndarray:
    """At most ``POINTS`` of a mask's voxel centres, (N, 3) LPS mm."""
    points = mask_points(mask)
    return points[np.random.default_rng(0).permutation(len(points))[:POINTS]]


def errors(points: np.ndarray, motion: KnownMotion, transform: sitk.Transform) -> np.ndarray:
    """Distances in mm between the known and the found places of points of the NCCT."""
    found = np.array([transform.TransformPoint(point) for point in points.tolist()])
    return np.linalg.norm(found - motion.inverse(points), axis=1)


def least_determinant(field: sitk.Image | None) -> float:
    if field is None:
        return 1.0
    return float(sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field)).min())


def read_pairs(folder: Path) -> Iterator[tuple[str, Volume, Volume, sitk.Image, sitk.Image]]:
    for path in sorted(folder.glob("*_ncct.nii.gz")):
        case = path.name.removesuffix("_ncct.nii.gz")
        ncct, cta = read_ct(path), read_ct(folder / f"{case}_cta.nii.gz")
        lung, vessel = (sitk.ReadImage(str(folder / f"{case}_{kind}.nii.gz")) for kind in ("lung", "vessel"))
        yield case, ncct, cta, lung, vessel


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, help="folder of aligned pairs (default: a phantom)")
    parser.add_argument("--case", help="this pair only")
    parser.add_argument("--threads", type=int, default=2, help="of SimpleITK (default: 2)")
    parser.add_argument("--shift-mm", type=float, default=5.0)
    parser.add_argument("--degrees", type=float, default=3.0)
    parser.add_argument("--breath-mm", type=float, default=8.0)
    parser.add_argument("--no-deformable", action="store_true", help="rigid only")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(argv)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        if options.pairs is None:
            write_cohort(Path(folder), cases=1, seed=0, shape=(64, 64, 40), spacing=(5.25, 5.25, 6.4))
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
        for case, *pair in read_pairs(options.pairs or Path(folder)):
            if options.case in (None, case):
                print(f"| {case} | {' | '.join(report(*pair, options))} |", flush=True)
    print(f"\nwanted: {WANTED}; {options.threads} threads")


if __name__ == "__main__":
    main()
