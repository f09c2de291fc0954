"""What differs from one virtual pair to the next, drawn from a seed and the case's name."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from ...common.errors import InputError

Range = tuple[float, float]
BOUNDS = {
    "blood_hu": (0, 100),
    "organs": (0, 1),
    "noise": (0, 3),
    "kernel_mm": (-1, 3),
    "thickness_mm": (0, 10),
    "breathing_mm": (0, 20),
}


@dataclass(frozen=True)
class VirtualSettings:
    """The settings that determine a case's files; ranges are drawn from evenly.

    Args:
        blood_hu: of the blood without iodine, which lies near the patient's muscle and within these bounds.
        organs: share by which enhanced organs are brought back to their unenhanced level.
        noise: strength of the fresh noise, in standard deviations of the scan's own.
        kernel_mm: the NCCT's reconstruction kernel against the scan's: below 0 sharper, above 0 smoother; standard
            deviation of the Gaussian.
        thickness_mm: the NCCT's slice thickness; slices that are as thick stay as they are.
        breathing_mm: the largest displacement of the CTA by breathing against the NCCT.
        seed: of all draws.
    """

    blood_hu: Range = (30.0, 60.0)
    organs: Range = (0.8, 1.0)
    noise: Range = (0.4, 0.8)
    kernel_mm: Range = (-0.3, 0.3)
    thickness_mm: Range = (0.0, 0.0)
    breathing_mm: Range = (0.0, 0.0)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in BOUNDS.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                option = name.split("_")[0]
                raise InputError(
                    f"--{option} {low:g} {high:g}: expected two values from {least} to {most}, the lower first"
                )
        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: it must not be negative")


@dataclass(frozen=True)
class Drawn:
    """What was drawn for a case; see ``VirtualSettings``."""

    blood_hu: float
    organs: float
    noise: float
    kernel_mm: float
    thickness_mm: float
    breathing_mm: float


# Blood without iodine lies a little below muscle: 50 +- 5 HU at a normal haematocrit, less in anaemia.
BELOW_MUSCLE_HU, BLOOD_SPREAD_HU = 2.0, 4.0
MARGIN_HU = 4.0  # what is measured later scatters about what is drawn, and must stay within the bounds


def random_of(seed: int, case: str) -> np.random.Generator:
    """A case's own stream of random numbers: adding a case doesn't change the others."""
    return np.random.default_rng(list(hashlib.blake2b(f"{seed}:{case}".encode(), digest_size=16).digest()))


def draw(
    settings: VirtualSettings, random: np.random.Generator, muscle_hu: float, most_apart_hu: float = math.inf
) -> Drawn:
    """Draw a case's appearance; its muscle's HU say how the scan is calibrated.

    Args:
        settings: what to draw from.
        random: the case's stream.
        muscle_hu: muscle's level.
        most_apart_hu: how far blood may lie from it.
    """
    low, high = settings.blood_hu
    margin = min(MARGIN_HU, (high - low) / 2)
    apart = BLOOD_SPREAD_HU * random.standard_normal() - BELOW_MUSCLE_HU
    blood = muscle_hu + np.clip(apart, -most_apart_hu, most_apart_hu)
    blood = np.clip(blood, low + margin, high - margin)
    drawn = {
        name: float(random.uniform(*getattr(settings, name)))
        for name in ("organs", "noise", "kernel_mm", "thickness_mm")
    }
    # From a stream of its own: whether the CTA moves mustn't change the NCCT.
    breathing = float(random.spawn(1)[0].uniform(*settings.breathing_mm))
    return Drawn(blood_hu=float(blood), **drawn, breathing_mm=breathing)
