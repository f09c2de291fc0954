"""How large is the report at a hospital's size, and what do its pictures lose: ``python benchmarks/report.py``.

Five noisy phantoms of 512 x 512 x 300 voxels, each with a blurred CTA as the prediction and a map of its uncertainty,
are scored beside identity and HU remap, and the report is written with everything on: tables, plots, uncertainty, and
the viewer with every volume. It prints the report's size (wanted: below 40 MB), how long it takes beside the scoring,
and the voxels to which the viewer's volumes were made coarser to stay within the limit. About 15 minutes on 2 cores,
and 10 GB of files in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from evaluate import write_files

from ncct_cta.common.hu import to_int16_hu
from ncct_cta.evaluate.command import main as evaluate

MOST_MB = 40
SD_HU = (5.0, 60.0)  # of the map: in the air, and where CTA and NCCT differ


def write_case(folder: Path, name: str, shape: tuple[int, int, int]) -> dict[str, str]:
    """Write a phantom's files, a prediction and its map; give its entry in the case list."""
    write_files(shape, folder, seed=int(name.removeprefix("p")), name=name)
    paths = {kind: folder / f"{name}_{kind}.nii.gz" for kind in ("ncct", "cta", "lung", "vessel")}
    ncct, cta = (nib.load(paths[kind]) for kind in ("ncct", "cta"))
    changed = np.abs(np.asarray(cta.dataobj).astype(np.float32) - np.asarray(ncct.dataobj)) > 80
    spread = to_int16_hu(np.where(changed, SD_HU[1], SD_HU[0]))
    nib.save(nib.Nifti1Image(spread, ncct.affine), folder / f"{name}_sd.nii.gz")
    return {"case": name, **{kind: str(path) for kind, path in paths.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5, help="cases in the report (default: 5)")
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300), metavar=("X", "Y", "Z"))
    parser.add_argument("--output", type=Path, help="keep everything here (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        cases = folder / "cases"
        cases.mkdir(parents=True)
        entries = [write_case(cases, f"p{number}", tuple(options.shape)) for number in range(options.cases + 1)]
        # One more case of the validation split: the intervals of the map are fitted on it.
        content = {"validation": entries[:1], "testing": entries[1:]}
        (folder / "dataset.json").write_text(json.dumps(content))
        start = time.perf_counter()
        words = ["--datalist", str(folder / "dataset.json"), "--pred", f"blurred={cases}"]
        evaluate([*words, "--output", str(folder / "scores")])
        print(f"scoring and report      {time.perf_counter() - start:7.1f} s")
        report = folder / "scores" / "report.html"
        size = report.stat().st_size
        print(f"report of {options.cases} cases       {size / 1e6:7.2f} MB (wanted: below {MOST_MB})")
        for words in sorted(set(re.findall(r"Shown here: ([^\"]*?)\.\"", report.read_text()))):
            print(f"in the viewer           {words}")


if __name__ == "__main__":
    main()
