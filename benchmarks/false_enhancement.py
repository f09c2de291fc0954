"""What do models light up that no iodine reaches: ``python benchmarks/false_enhancement.py``.

    python benchmarks/false_enhancement.py --scan ncct.nii.gz --picture false_enhancement.png \
        --models before=runs/before/checkpoint_last.pt after=runs/after/checkpoint_last.pt

A real NCCT has no CTA to compare with, but some places hardly enhance in an arterial phase: muscle and bone of the
chest wall, and what lies below the lungs, mostly liver, spleen and stomach. For each model printed are the mean of
prediction - NCCT there in HU and, of the soft tissue, the share that it raises by more than 50 HU; beside them the mean
between the lungs, much of which is blood and should rise. The picture shows the scan, and each model's prediction and
change in three planes. Without ``--scan`` a phantom stands in for it, and without ``--models`` the starter model.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from virtual_training import places_of

from ncct_cta import infer
from ncct_cta.common.hu import ANGIO_WINDOW_HU, MEDIASTINAL_WINDOW_HU, SOFT_TISSUE_HU
from ncct_cta.engines.inference import OUTPUT_SUFFIX
from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.prepare.virtual.pictures import TAKEN_HU, draw_planes
from ncct_cta.transforms.lung_mask import compute_lung_mask
from ncct_cta.volumes.nifti import case_name, read_ct
from ncct_cta.volumes.orientation import spacing_to_ras, to_ras

RAISED_HU = 50
CAPTION = "NCCT: HU {} to {}; predictions: HU {} to {}; changes, prediction minus NCCT: HU {} to {}.".format(
    *MEDIASTINAL_WINDOW_HU, *ANGIO_WINDOW_HU, *TAKEN_HU
)


def below(lung: np.ndarray) -> np.ndarray:
    """What lies below the lowest voxel of the lungs in its own column; (X, Y, Z) RAS+."""
    above = np.flip(np.logical_or.accumulate(np.flip(lung, 2), axis=2), 2)
    none_below = ~np.logical_or.accumulate(lung, axis=2)
    return above & none_below


def predicted(model: str, scan: Path, folder: Path) -> np.ndarray:
    """The synthetic CTA of a checkpoint or a packed model, RAS+."""
    given = ["--model", model] if model == "starter" or model.endswith(".zip") else ["--checkpoint", model]
    infer.main([*given, "--input", str(scan), "--output", str(folder), "--device", "cpu"])
    made = read_ct(folder / f"{case_name(scan)}{OUTPUT_SUFFIX}")
    return to_ras(made.array, made.affine)[0]


def main() -> None:
    """Predict, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path, help="a real NCCT (default: a phantom's)")
    parser.add_argument("--models", nargs="+", default=["starter=starter"], metavar="NAME=CHECKPOINT")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scan = options.scan
        if scan is None:
            write_cohort(folder, cases=1, seed=0, shape=(96, 96, 48), spacing=(3.5, 3.5, 5.25))
            scan = next(folder.glob("*_ncct.nii.gz"))
        volume = read_ct(scan)
        ncct, orientation = to_ras(volume.array, volume.affine)
        spacing = spacing_to_ras(volume.spacing, orientation)
        lung = compute_lung_mask(ncct, spacing) > 0
        soft = (ncct > SOFT_TISSUE_HU[0]) & (ncct < SOFT_TISSUE_HU[1])
        places = {**places_of(ncct, spacing), "soft tissue below the lungs": below(lung) & soft}
        columns = {"real NCCT": (ncct, MEDIASTINAL_WINDOW_HU)}
        for number, named in enumerate(options.models):
            name, _, model = named.partition("=")
            prediction = predicted(model, scan, folder / str(number))
            change = prediction.astype(np.float32) - ncct
            columns |= {name: (prediction, ANGIO_WINDOW_HU), f"{name}: change": (change, TAKEN_HU)}
            print(f"{name}, prediction - NCCT in HU")
            for place, where in places.items():
                raised = (change[where] > RAISED_HU).mean()
                print(f"  {place:32} {change[where].mean():6.1f}   above {RAISED_HU} HU: {raised:.1%}", flush=True)
        if options.picture:
            draw_planes(options.picture, case_name(scan), columns, lung, spacing, CAPTION)


if __name__ == "__main__":
    main()
