"""What does G learn from virtual pairs alone, and what from phantoms alone: ``python benchmarks/virtual_training.py``.

    python -m ncct_cta.prepare virtual SCANS --output virtual
    python benchmarks/virtual_training.py --virtual virtual --scan ncct.nii.gz --picture virtual_training.png

Both train the same preset for the same process time. On a real NCCT, which has no CTA, printed is the mean of
prediction - NCCT in HU: in the muscle and the bone of the chest wall, outside the lungs' hull, where it is false, and
in the soft tissue between the lungs, much of which is blood, where it should be hundreds of HU. The picture shows the
scan and both predictions in three planes. Without ``--virtual`` and ``--scan`` phantoms stand in for them, to try it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ablation import train_seconds

from ncct_cta import infer
from ncct_cta.common.hu import ANGIO_WINDOW_HU, BONE_LOWER_HU, MEDIASTINAL_WINDOW_HU, SOFT_TISSUE_HU
from ncct_cta.engines.inference import OUTPUT_SUFFIX
from ncct_cta.metrics import body_mask
from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.prepare.virtual.bone import lung_hull
from ncct_cta.prepare.virtual.pictures import draw_planes
from ncct_cta.runs.names import LAST
from ncct_cta.transforms.contrast import between_lungs
from ncct_cta.transforms.lung_mask import compute_lung_mask
from ncct_cta.volumes.nifti import case_name, read_ct
from ncct_cta.volumes.orientation import spacing_to_ras, to_ras

CAPTION = "NCCT: HU {} to {}; predictions: HU {} to {}.".format(*MEDIASTINAL_WINDOW_HU, *ANGIO_WINDOW_HU)


def places_of(ncct: np.ndarray, spacing: Sequence[float]) -> dict[str, np.ndarray]:
    """Where changes are measured, by name."""
    lung = compute_lung_mask(ncct, spacing) > 0
    wall = body_mask(ncct, spacing) & ~lung_hull(lung) & lung.any((0, 1))
    soft = (ncct > SOFT_TISSUE_HU[0]) & (ncct < SOFT_TISSUE_HU[1])
    return {
        "muscle of the chest wall": wall & soft,
        "bone of the chest wall": wall & (ncct > BONE_LOWER_HU),
        "soft tissue between the lungs": between_lungs(lung) & soft,
    }


def main() -> None:
    """Train both, predict, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--virtual", type=Path, help="virtual pairs, as prepare virtual writes them")
    parser.add_argument("--scan", type=Path, help="a real NCCT")
    parser.add_argument("--phantoms", type=int, default=14)
    parser.add_argument("--seconds", type=float, default=300, help="process time of each training (default: 300)")
    parser.add_argument("--preset", default="g_small")
    parser.add_argument("--small", action="store_true", help="phantoms of 96 x 96 x 48 voxels")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        size = {"shape": (96, 96, 48), "spacing": (3.5, 3.5, 5.25)} if options.small else {}
        phantoms = write_cohort(folder / "phantoms", cases=options.phantoms, seed=0, **size)
        lists = {"phantoms alone": phantoms, "virtual pairs alone": options.virtual or phantoms}
        scan = options.scan or sorted(phantoms.parent.glob("*_ncct.nii.gz"))[0]
        ncct = read_ct(scan)
        images = {"real NCCT": to_ras(ncct.array, ncct.affine)[0]}
        spacing = spacing_to_ras(ncct.spacing, to_ras(ncct.array, ncct.affine)[1])
        places = places_of(images["real NCCT"], spacing)
        for number, (name, datalist) in enumerate(lists.items()):
            run, steps = train_seconds(options.seconds, folder / str(number) / "g", datalist, {}, options.preset, 0)
            made = folder / f"made{number}"
            words = ["--checkpoint", str(run / LAST), "--input", str(scan), "--output", str(made), "--device", "cpu"]
            infer.main(words)
            prediction = read_ct(made / f"{case_name(scan)}{OUTPUT_SUFFIX}")
            images[name] = to_ras(prediction.array, ncct.affine)[0]
            change = images[name].astype(np.float32) - images["real NCCT"]
            figures = ", ".join(f"{place} {change[where].mean():.1f}" for place, where in places.items())
            print(f"{name}, {steps} steps: prediction - NCCT in HU: {figures}", flush=True)
        if options.picture:
            lung = compute_lung_mask(images["real NCCT"], spacing)
            windows = [MEDIASTINAL_WINDOW_HU, ANGIO_WINDOW_HU, ANGIO_WINDOW_HU]
            columns = dict(zip(images, zip(images.values(), windows, strict=True), strict=True))
            draw_planes(options.picture, case_name(scan), columns, lung, spacing, CAPTION)


if __name__ == "__main__":
    main()
