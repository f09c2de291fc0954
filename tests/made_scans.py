"""Scans and runs for the tests of inference, and the command on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import yaml

from ncct_cta.infer.command import main

SHAPE = (40, 36, 34)
NOT_SET = (None, 0)


def synthesise(source: Path, output: Path, *words: str | Path) -> dict[str, Path]:
    """Run the command and give the volumes it leaves, by name."""
    main(["--input", str(source), "--output", str(output), "--device", "cpu", *map(str, words)])
    return {path.name: path for path in sorted(output.iterdir()) if path.suffix != ".json"}


def chest(shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    """Smooth HU with air and bone, a part of them outside the window."""
    random = np.random.default_rng(seed)
    waves = np.indices(shape).transpose(1, 2, 3, 0) @ random.uniform(0.05, 0.2, 3)
    return (1500 * np.sin(waves) + random.normal(0, 20, shape)).astype(np.int16)


def save(
    path: Path,
    hu: np.ndarray,
    sform: tuple[np.ndarray | None, int] = (np.eye(4), 1),
    qform: tuple[np.ndarray | None, int] = NOT_SET,
    units: tuple[str, str] = ("mm", "sec"),
) -> Path:
    """Write a NIfTI with exactly these forms."""
    image = nib.Nifti1Image(hu, None, dtype=hu.dtype)
    image.header.set_sform(*sform)
    image.header.set_qform(*qform)
    image.header.set_xyzt_units(*units)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def hu_of(path: Path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj)


def edited(run: Path, folder: Path, *, weights: Callable[[torch.Tensor], torch.Tensor] | None = None, **data) -> Path:
    """A copy of a run's settings and best weights, changed."""
    folder.mkdir()
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"] |= data
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    checkpoint = torch.load(run / "checkpoint_best.pt", weights_only=True)
    checkpoint["settings"]["data"] |= data
    if weights is not None:
        checkpoint["ema"] = {name: weights(value) for name, value in checkpoint["ema"].items()}
    torch.save(checkpoint, folder / "checkpoint_best.pt")
    return folder
