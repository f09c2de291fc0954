"""How well blood is found in contrast CTs, and vessels in pairs: phantoms, whose truth is known, and given masks.

    python benchmarks/blood.py --cases 3
    python benchmarks/blood.py --pairs FOLDER     # {case}_ncct, _cta, _lung and _vessel.nii.gz

Dice, share kept (recall) and share right (precision), in the lungs and outside. ``blood`` sees the CTA alone, ``pair``
both CTs. The given masks of a folder are compared as they are: they needn't be the truth.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ncct_cta.metrics import vessel_mask_from_pair
from ncct_cta.phantom.cohort import make_case
from ncct_cta.prepare.virtual.blood import find_blood
from ncct_cta.volumes.nifti import read_ct, read_mask
from ncct_cta.volumes.orientation import spacing_to_ras, to_ras

Case = tuple[str, dict[str, np.ndarray], Sequence[float]]
PHANTOM_SPACINGS = ((1.5, 1.5, 2.0), (1.0, 1.0, 1.5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=3, help="phantoms of each voxel size")
    parser.add_argument("--pairs", type=Path, help="a folder of pairs with masks, instead of phantoms")
    parser.add_argument("--voxel-mm", type=float, nargs=3, action="append", metavar="MM", help="of the phantoms")
    args = parser.parse_args()
    print(f"{'case':28} {'method':6} {'where':8} {'Dice':>6} {'kept':>6} {'right':>6}  seconds")
    for name, arrays, spacing in (
        phantoms(args.cases, args.voxel_mm or PHANTOM_SPACINGS) if args.pairs is None else pairs(args.pairs)
    ):
        started = time.perf_counter()
        blood = find_blood(arrays["cta"], spacing).blood
        seconds = time.perf_counter() - started
        report(name, "blood", blood, arrays, f"{seconds:.0f}")
        started = time.perf_counter()
        pair = vessel_mask_from_pair(arrays["ncct"], arrays["cta"], spacing) > 0
        report(name, "pair", pair, arrays, f"{time.perf_counter() - started:.0f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


def phantoms(count: int, spacings: Sequence[Sequence[float]]) -> Iterator[Case]:
    """Phantoms in RAS, with the truth of vessels and lungs."""
    for spacing in spacings:
        shape = tuple(round(mm / edge) for mm, edge in zip((336, 256, 256), spacing, strict=True))
        for index in range(count):
            case = make_case(11, index, shape=shape, spacing=spacing)
            arrays = {kind: getattr(case, kind) for kind in ("ncct", "cta", "lung", "vessel")}
            turned = {kind: to_ras(array, case.affine)[0] for kind, array in arrays.items()}
            yield f"phantom {index}, {spacing[0]} mm", turned, spacing


def pairs(folder: Path) -> Iterator[Case]:
    """Pairs of a folder in RAS, with their given masks."""
    for path in sorted(folder.glob("*_ncct.nii.gz")):
        name = path.name.removesuffix("_ncct.nii.gz")
        ncct = read_ct(path)
        arrays = {"ncct": ncct.array, "cta": read_ct(folder / f"{name}_cta.nii.gz").array}
        arrays |= {kind: read_mask(folder / f"{name}_{kind}.nii.gz", ncct) for kind in ("lung", "vessel")}
        turned = {kind: to_ras(array, ncct.affine)[0] for kind, array in arrays.items()}
        yield name, turned, spacing_to_ras(ncct.spacing, to_ras(ncct.array, ncct.affine)[1])


def report(name: str, method: str, found: np.ndarray, truth: dict[str, np.ndarray], seconds: str) -> None:
    """Print the overlap in the lungs and outside."""
    lung = truth["lung"] > 0
    for where, place in (("lungs", lung), ("outside", ~lung), ("all", np.ones_like(lung))):
        ours, theirs = np.count_nonzero(found & place), np.count_nonzero((truth["vessel"] > 0) & place)
        both = np.count_nonzero(found & place & (truth["vessel"] > 0))
        dice, kept, right = 2 * both / max(1, ours + theirs), both / max(1, theirs), both / max(1, ours)
        print(f"{name:28} {method:6} {where:8} {dice:6.3f} {kept:6.3f} {right:6.3f}  {seconds}")


if __name__ == "__main__":
    main()
