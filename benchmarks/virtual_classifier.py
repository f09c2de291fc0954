"""Can a network tell a virtual NCCT from a real one: ``python benchmarks/virtual_classifier.py``.

    python benchmarks/virtual_classifier.py --real NCCT NCCT ... --virtual virtual/*_ncct.nii.gz

A small network sees axial patches of 32 x 32 voxels between the lungs, on one grid: blocks are averaged to about 1.4 mm
in the slice and 5 mm through it, where a scan is finer. It is trained on half of the scans of each kind and tested on
patients of the other half, and the reverse. Printed is the area under the ROC curve of each fold, below 0.5 where the
test scans look the other way round; wanted: at most 0.75. What gives the rest away is asked in three ways:

- of views of the patch: without its mean, smoothed (structure), without structure (noise), and noise of one strength;
- of single features without any training: mean, noise, how alike neighbours' noise is (the kernel), steepness of edges;
- of the chest wall instead, where no iodine was taken out: what tells the scans apart there is scanner and patient.

``--labellings`` trains the same for every other way of calling as many of the scans real. Where many of these do as
well as the true one, the network knows scans, and so few of them can't answer the question. ``--pictures DIR`` draws
each virtual NCCT beside a real one. Without scans, phantoms' NCCTs stand in for both, to try it.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from monai.metrics import compute_roc_auc
from scipy import ndimage
from torch import nn

from ncct_cta.common.hu import AIR_HU, MEDIASTINAL_WINDOW_HU
from ncct_cta.metrics import body_mask
from ncct_cta.phantom.cohort import make_case
from ncct_cta.prepare.virtual.bone import lung_hull
from ncct_cta.prepare.virtual.gates import auc
from ncct_cta.prepare.virtual.local import block_mean
from ncct_cta.prepare.virtual.pictures import draw_planes
from ncct_cta.transforms.contrast import between_lungs
from ncct_cta.transforms.lung_mask import compute_lung_mask
from ncct_cta.volumes.orientation import spacing_to_ras, to_ras
from ncct_cta.volumes.reading import read_volume

GRID_MM, SIZE = (1.4, 1.4, 5.0), 32
FEATURES = ("mean", "noise", "likeness of neighbours", "edges")
BETWEEN, WALL = "between the lungs", "chest wall"
FRAME_MM = (360.0, 270.0, 270.0)  # of a picture, around the lungs' middle
Scan = tuple[np.ndarray, Sequence[float]]
Kinds = Sequence[Sequence[np.ndarray]]


def places_of(lung: np.ndarray, body: np.ndarray) -> dict[str, np.ndarray]:
    """Where patches have their centres, by name."""
    return {BETWEEN: between_lungs(lung), WALL: body & ~lung_hull(lung) & lung.any((0, 1))}


def patches_of(scan: Scan, count: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Axial patches of each place, (N, 32, 32) HU within the soft tissue window."""
    hu, spacing = scan
    steps = [max(1, round(wanted / edge)) for wanted, edge in zip(GRID_MM, spacing, strict=True)]
    coarse, mm = block_mean(hu.astype(np.float32), steps), np.multiply(steps, spacing).tolist()
    half = SIZE // 2
    patches = {}
    for name, place in places_of(compute_lung_mask(coarse, mm) > 0, body_mask(coarse, mm)).items():
        inner = np.zeros_like(place)
        inner[half:-half, half:-half] = place[half:-half, half:-half]
        drawn = np.argwhere(inner)[random.choice(np.count_nonzero(inner), count)]
        cut = [coarse[x - half : x + half, y - half : y + half, z] for x, y, z in drawn]
        patches[name] = np.stack(cut).clip(*MEDIASTINAL_WINDOW_HU)
    return patches


def smooth(patches: np.ndarray, voxels: float) -> np.ndarray:
    return ndimage.gaussian_filter(patches, (0, voxels, voxels))


def noise_of(patches: np.ndarray) -> np.ndarray:
    """What differs from a Gaussian of one voxel."""
    return patches - smooth(patches, 1)


# What the network is shown, in HU about 0.
VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "all": lambda patches: patches - np.mean(MEDIASTINAL_WINDOW_HU),
    "without the mean": lambda patches: patches - patches.mean((1, 2), keepdims=True),
    "structure": lambda patches: smooth(patches, 2) - np.mean(MEDIASTINAL_WINDOW_HU),
    "noise": noise_of,
    "noise of one strength": lambda patches: 20 * noise_of(patches) / noise_of(patches).std((1, 2), keepdims=True),
}


def features(patches: np.ndarray) -> np.ndarray:
    """The hand-made features of each patch, (N, 4)."""
    high = noise_of(patches)
    flat = np.median(np.abs(high), axis=(1, 2))
    alike = (high[:, 1:] * high[:, :-1]).mean((1, 2)) / np.maximum((high**2).mean((1, 2)), 1e-3)
    edges = np.percentile(ndimage.gaussian_gradient_magnitude(patches, (0, 1, 1)), 90, axis=(1, 2))
    return np.stack([patches.mean((1, 2)), flat, alike, edges], axis=1)


def network() -> nn.Module:
    """A small one: 32 x 32 to a logit."""
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Dropout2d(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 1))


def trained(patches: torch.Tensor, labels: torch.Tensor, steps: int) -> nn.Module:
    """Train it with flips."""
    torch.manual_seed(0)
    net, drawn = network().train(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    for _ in range(steps):
        index = torch.randint(len(patches), (64,), generator=drawn)
        batch = patches[index]
        batch = batch.flip(-1) if torch.rand(1, generator=drawn) < 0.5 else batch
        loss = nn.functional.binary_cross_entropy_with_logits(net(batch)[:, 0], labels[index])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


def joined(kinds: Kinds, view: Callable[[np.ndarray], np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 1, 32, 32) in units of 200 HU, real scans first, as many of each kind; their labels, virtual 1."""
    count = min(len(patches) for scans in kinds for patches in scans)
    both = [np.concatenate([patches[: count // len(scans)] for patches in scans]) for scans in kinds]
    labels = torch.cat([torch.full((len(patches),), float(label)) for label, patches in enumerate(both)])
    return torch.from_numpy(view(np.concatenate(both)).astype(np.float32) / 200)[:, None], labels


def folds(kinds: Kinds, view: Callable[[np.ndarray], np.ndarray], steps: int) -> list[float]:
    """Area under the curve on the other half's scans, trained on each half; real scans, then virtual ones."""
    halves = [joined([scans[half::2] for scans in kinds], view) for half in range(2)]
    areas = []
    for half in range(2):
        net = trained(*halves[half], steps)
        with torch.inference_mode():
            areas.append(compute_roc_auc(net(halves[1 - half][0])[:, 0], halves[1 - half][1]))
    return [float(area) for area in areas]


def shown(name: str, areas: Sequence[float]) -> None:
    print(f"{name:50} " + " ".join(f"{area:.2f}" for area in areas), flush=True)


def labellings(scans: Sequence[np.ndarray], real: int, steps: int) -> None:
    """Print how the true labelling, of the first ``real`` scans as real, fares among all others."""
    chosen = itertools.combinations(range(len(scans)), real)
    kinds = [
        [[scans[n] for n in range(len(scans)) if (n in those) == kind] for kind in (True, False)] for those in chosen
    ]
    areas = [float(np.mean(folds(each, VIEWS["all"], steps))) for each in kinds]
    shown("every labelling, the true one first; means", areas)
    others = np.count_nonzero(np.array(areas[1:]) >= areas[0])
    print(f"{others} of {len(areas) - 1} other labellings do as well as the true one")


def framed(scan: Scan) -> np.ndarray:
    """A scan around its lungs' middle, in voxels of 1 mm: the nearest of its own, so that noise stays as it is."""
    hu, spacing = scan
    lung = np.argwhere(compute_lung_mask(hu, spacing) > 0)
    middle = (lung.min(0) + lung.max(0)) / 2
    start = middle - np.divide(FRAME_MM, spacing) / 2
    shape = tuple(int(edge) for edge in FRAME_MM)
    return ndimage.affine_transform(hu, np.divide(1.0, spacing), start, shape, order=0, cval=AIR_HU)


def draw(folder: Path, real: Sequence[Scan], virtual: dict[str, Scan]) -> None:
    """Draw each virtual NCCT beside a real one, in turn."""
    caption = "Both: HU {} to {}, through the middle of the lungs.".format(*MEDIASTINAL_WINDOW_HU)
    for (name, scan), other in zip(virtual.items(), itertools.cycle(real)):
        both = {"virtual NCCT": framed(scan), "another patient's real NCCT": framed(other)}
        columns = {title: (volume, MEDIASTINAL_WINDOW_HU) for title, volume in both.items()}
        nowhere = np.zeros(both["virtual NCCT"].shape, bool)
        draw_planes(folder / f"{name}_beside_real.png", name, columns, nowhere, (1.0, 1.0, 1.0), caption)


def scan_of(path: Path) -> Scan:
    """HU and spacing."""
    scan = read_volume(path)
    hu, orientation = to_ras(scan.array, scan.affine)
    return hu, spacing_to_ras(scan.spacing, orientation)


def main() -> None:
    """Draw the patches, train both ways and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, nargs="+", help="two real NCCTs or more: files, DICOM folders")
    parser.add_argument("--virtual", type=Path, nargs="+", help="two virtual ones or more")
    parser.add_argument("--patches", type=int, default=1500, help="of each kind and half")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--labellings", action="store_true", help="try every other way of calling scans real")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw each virtual NCCT beside a real one")
    options = parser.parse_args()
    if options.real and options.virtual:
        kinds = [{path.name: scan_of(path) for path in paths} for paths in (options.real, options.virtual)]
    else:
        cases = [make_case(7, n, shape=(112, 86, 40), spacing=(3.0, 3.0, 6.0)) for n in range(4)]
        made = {f"phantom{n}": (to_ras(case.ncct, case.affine)[0], (3.0, 3.0, 6.0)) for n, case in enumerate(cases)}
        kinds = [dict(list(made.items())[:2]), dict(list(made.items())[2:])]
    if options.pictures:
        draw(options.pictures, list(kinds[0].values()), kinds[1])
    random = np.random.default_rng(0)
    patches = [[patches_of(scan, options.patches, random) for scan in scans.values()] for scans in kinds]
    for place in (BETWEEN, WALL):
        there = [[scan[place] for scan in scans] for scans in patches]
        for name, view in VIEWS.items():
            shown(f"{place}: network, {name}", folds(there, view, options.steps))
        single = [[features(np.concatenate(scans[half::2])) for half in (1, 0)] for scans in there]
        for number, name in enumerate(FEATURES):
            shown(f"{place}: {name}", [auc(*(kind[half][:, number] for kind in single)) for half in range(2)])
    if options.labellings:
        there = [scan[BETWEEN] for scans in patches for scan in scans]
        labellings(there, len(kinds[0]), options.steps)


if __name__ == "__main__":
    main()
