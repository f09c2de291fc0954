"""What does scoring a prediction cost, metric by metric, and what limits it?

    python benchmarks/evaluate.py                        512 x 512 x 300 voxels, about 2 minutes on 2 cores
    python benchmarks/evaluate.py --shape 256 256 60     smaller

It scores one saved prediction of one case (a phantom, drawn at half the resolution, with noise) in its own process,
files in, figures out, and prints the seconds of each metric, the total (wanted: at most 60 s) and the process' highest
resident memory, libraries included (wanted: at most 5 GB). What several metrics share is counted with the first of
them, and what only NCCT and CTA decide (the body, the CTA's vessels and their centreline) is there once, however many
methods are compared: "another prediction" is what each further one costs.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from ncct_cta.common.hu import to_int16_hu
from ncct_cta.data import Case
from ncct_cta.evaluate.results import DEFAULT_WINDOW
from ncct_cta.evaluate.scoring import BYTES_PER_PROCESS, BYTES_PER_VOXEL
from ncct_cta.metrics import CaseImages, Column, columns, scores
from ncct_cta.phantom.cohort import make_case
from ncct_cta.volumes.nifti import read_ct, read_mask
from ncct_cta.volumes.orientation import spacing_to_ras, to_ras

MOST_SECONDS, MOST_GB = 60, 5.0
COARSER = 2
FIELD_MM = (336.0, 336.0, 300.0)
NOISE_HU = 15
nib.openers.Opener.default_compresslevel = 1  # of noise little can be saved
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300), metavar=("X", "Y", "Z"))
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_files(tuple(options.shape), Path(folder))
        # A fresh process: drawing the phantom takes memory too.
        subprocess.run([sys.executable, __file__, "--measure", folder], check=True)


def write_files(shape: tuple[int, ...], folder: Path, seed: int = 0, name: str = "p") -> None:
    """A phantom's NCCT, CTA and masks, and a blurred CTA for the prediction."""
    width, height, depth = (max(24, -(-size // COARSER)) for size in shape)
    spacing = tuple(mm / size for mm, size in zip(FIELD_MM, (width, height, depth), strict=True))
    case = make_case(seed, shape=(width, height, depth), spacing=spacing)
    affine = np.diag([-FIELD_MM[0] / shape[0], -FIELD_MM[1] / shape[1], FIELD_MM[2] / shape[2], 1])
    random = np.random.default_rng(seed)

    def write(kind: str, coarse: np.ndarray, noise: float = 0) -> np.ndarray:
        fine = coarse
        for axis, size in enumerate(shape):
            fine = fine.repeat(COARSER, axis).take(range(size), axis)
        if noise:
            fine = to_int16_hu(fine + noise * random.standard_normal(shape, np.float32))
        nib.save(nib.Nifti1Image(fine, affine), folder / f"{name}_{kind}.nii.gz")
        return fine

    write("ncct", case.ncct, NOISE_HU)
    write("lung", case.lung)
    write("vessel", case.vessel)
    cta = write("cta", case.cta, NOISE_HU)
    blurred = to_int16_hu(gaussian_filter(cta.astype(np.float32), (1, 1, 0)))
    nib.save(nib.Nifti1Image(blurred, affine), folder / f"{name}_syncta.nii.gz")


def measure(folder: Path) -> None:
    """Score the files, part by part."""
    case = Case("p", *(folder / f"p_{kind}.nii.gz" for kind in ("ncct", "cta", "lung", "vessel")))
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], T]) -> T:
        start, start_cpu = time.perf_counter(), time.process_time()
        result = work()
        seconds[name], cpu = time.perf_counter() - start, time.process_time() - start_cpu
        print(f"{name:<24}{seconds[name]:7.1f} s {cpu:7.1f} s of CPU", flush=True)
        return result

    ncct = read_ct(case.ncct)
    print(f"volume                  {' x '.join(map(str, ncct.shape))}")
    images = timed("read", lambda: [to_ras(image, ncct.affine)[0] for image in read(case, folder)])
    spacing = spacing_to_ras(ncct.spacing, to_ras(ncct.array, ncct.affine)[1])
    case_images = timed("body and regions", lambda: CaseImages(
        images[0], images[1], lung=images[2], vessel=images[3], spacing=spacing
    ))  # fmt: skip
    compared = case_images.compared_with(images[4])
    by_metric: dict[str, list[Column]] = {}
    for column in columns(DEFAULT_WINDOW):
        by_metric.setdefault(column.metric.short, []).append(column)
    for name, own in by_metric.items():
        timed(name, partial(scores, compared, own))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    slowest = max(seconds, key=seconds.__getitem__)
    total = sum(seconds.values())
    shape = compared.prediction.shape
    print(f"total                   {total:7.1f} s (wanted: at most {MOST_SECONDS}); limited by {slowest}")
    print(f"the body's box          {' x '.join(map(str, shape))}")
    print(f"highest memory          {peak / 1e9:7.2f} GB (wanted: at most {MOST_GB:g}); the planner of --jobs assumes "
          f"{(BYTES_PER_PROCESS + BYTES_PER_VOXEL * ncct.array.size) / 1e9:.2f} GB")  # fmt: skip
    timed("another prediction", lambda: scores(case_images.compared_with(images[4]), columns(DEFAULT_WINDOW)))


def read(case: Case, folder: Path) -> list[np.ndarray]:
    """NCCT, CTA, lung mask, vessel mask, prediction."""
    ncct = read_ct(case.ncct)
    masks = [read_mask(path, ncct) for path in (case.lung, case.vessel) if path is not None]
    return [ncct.array, read_ct(folder / "p_cta.nii.gz").array, *masks, read_ct(folder / "p_syncta.nii.gz").array]


if __name__ == "__main__":
    main()
