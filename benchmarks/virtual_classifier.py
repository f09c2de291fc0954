"""Can a network tell a virtual NCCT from a real one: ``python benchmarks/virtual_classifier.py``.

    python benchmarks/virtual_classifier.py --real NCCT NCCT ... --virtual virtual/*_ncct.nii.gz

A small network sees axial patches of 32 x 32 voxels between the lungs, on one grid: blocks are averaged to about 1.4 mm
in the slice and 5 mm through it, where a scan is finer. It is trained on half of the scans of each kind and tested on
patients of the other half, and the reverse. Printed is the area under the ROC curve for each, and beside it that of
single features of a patch, without any training: mean, noise, how the noise of neighbours is alike (the kernel) and the
steepness of edges. A feature that tells the two apart alone gives them away. Wanted: at most 0.75. Without scans,
phantoms' NCCTs stand in for both, to try it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from ncct_cta.common.hu import MEDIASTINAL_WINDOW_HU
from ncct_cta.phantom.cohort import make_case
from ncct_cta.prepare.virtual.gates import auc
from ncct_cta.prepare.virtual.local import block_mean
from ncct_cta.transforms.contrast import between_lungs
from ncct_cta.transforms.lung_mask import compute_lung_mask
from ncct_cta.volumes.orientation import spacing_to_ras, to_ras
from ncct_cta.volumes.reading import read_volume

GRID_MM, SIZE = (1.4, 1.4, 5.0), 32
FEATURES = ("mean", "noise", "likeness of neighbours", "edges")


def patches_of(hu: np.ndarray, spacing: Sequence[float], count: int, random: np.random.Generator) -> np.ndarray:
    """Axial patches between the lungs, (N, 32, 32) HU."""
    steps = [max(1, round(wanted / edge)) for wanted, edge in zip(GRID_MM, spacing, strict=True)]
    coarse = block_mean(hu.astype(np.float32), steps)
    lung = compute_lung_mask(coarse, np.multiply(steps, spacing).tolist()) > 0
    half = SIZE // 2
    place = between_lungs(lung)
    inner = np.zeros_like(place)
    inner[half:-half, half:-half] = place[half:-half, half:-half]
    x, y, z = np.nonzero(inner)
    drawn = random.choice(len(x), count)
    return np.stack([
        coarse[x[n] - half : x[n] + half, y[n] - half : y[n] + half, z[n]] for n in drawn
    ])  # fmt: skip


def features(patches: np.ndarray) -> np.ndarray:
    """The hand-made features of each patch, (N, 4); noise is what differs from a Gaussian of one voxel."""
    high = patches - ndimage.gaussian_filter(patches, (0, 1, 1))
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


def scaled(patches: np.ndarray) -> torch.Tensor:
    """(N, 1, 32, 32) in [-1, 1], the soft tissue window."""
    low, high = MEDIASTINAL_WINDOW_HU
    return torch.from_numpy(((patches.clip(low, high) - low) / (high - low) * 2 - 1).astype(np.float32))[:, None]


def fold(train: Sequence[Sequence[np.ndarray]], test: Sequence[Sequence[np.ndarray]], steps: int) -> dict[str, float]:
    """Areas under the curve on the test scans of the network and of each feature; real scans, then virtual ones."""
    real, virtual = (np.concatenate(scans) for scans in train)
    labels = torch.cat([torch.zeros(len(real)), torch.ones(len(virtual))])
    net = trained(scaled(np.concatenate([real, virtual])), labels, steps)
    real, virtual = (np.concatenate(scans) for scans in test)
    with torch.inference_mode():
        logits = [net(scaled(patches))[:, 0].numpy() for patches in (real, virtual)]
    single = zip(features(real).T, features(virtual).T, strict=True)
    return {"network": auc(*logits)} | dict(zip(FEATURES, (auc(*both) for both in single), strict=True))


def scans_of(paths: Sequence[Path]) -> list[tuple[np.ndarray, Sequence[float]]]:
    """HU and spacing of each."""
    found = []
    for path in paths:
        scan = read_volume(path)
        hu, orientation = to_ras(scan.array, scan.affine)
        found.append((hu, spacing_to_ras(scan.spacing, orientation)))
    return found


def main() -> None:
    """Draw the patches, train both ways and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, nargs="+", help="two real NCCTs or more: files, DICOM folders")
    parser.add_argument("--virtual", type=Path, nargs="+", help="two virtual ones or more")
    parser.add_argument("--patches", type=int, default=1500, help="of each kind and half")
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    if options.real and options.virtual:
        kinds = [scans_of(paths) for paths in (options.real, options.virtual)]
    else:
        cases = [make_case(7, n, shape=(112, 86, 40), spacing=(3.0, 3.0, 6.0)) for n in range(4)]
        made = [(to_ras(case.ncct, case.affine)[0], (3.0, 3.0, 6.0)) for case in cases]
        kinds = [made[:2], made[2:]]
    halves = []
    for half in range(2):
        chosen = [scans[half::2] for scans in kinds]
        halves.append([
            [patches_of(*scan, options.patches // len(scans), random) for scan in scans] for scans in chosen
        ])  # fmt: skip
    for half in range(2):
        figures = fold(halves[half], halves[1 - half], options.steps)
        print(f"fold {half}: AUC " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
