"""The phantom's solid anatomy: body wall, bones, lungs, heart and upper abdomen as signed distances in mm.

All geometry lives in the phantom's own millimetres: x to the patient's left, y to the back, z to the head (LPS), with
x = y = 0 in the middle of the body and z from 0 (bottom of the field of view) to ``REFERENCE_FOV_MM[2]`` (its top).
A signed distance is negative inside; a soft step over one voxel turns it into a partial-volume fraction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..common.hu import AIR_HU

# The field of view that the anatomy is drawn for; other ones scale it. The body is smaller along y than along x.
REFERENCE_FOV_MM = (336.0, 256.0, 256.0)
TISSUE_HU = {
    "air": float(AIR_HU),
    "lung": -850.0,
    "fat": -100.0,
    "muscle": 55.0,
    "myocardium": 50.0,
    "blood": 40.0,
    "liver": 58.0,
    "spleen": 48.0,
    "stomach": 30.0,
    "mediastinum": 35.0,
    "cartilage": 95.0,
    "disc": 85.0,
    "canal": 25.0,
    "marrow": 170.0,
    "cortical": 600.0,
}
VERTEBRA_PITCH_MM = 24.0
RIB_PITCH_MM = 25.0
CHAMBERS = {  # name: centre beside the heart's centre, half axes (mm); axes are the heart's own, see _heart_frame
    "lv": ((18.0, 12.0, 0.0), (36.0, 19.0, 20.0)),
    "rv": ((12.0, -22.0, -2.0), (38.0, 15.0, 25.0)),
    "la": ((-33.0, 14.0, 6.0), (17.0, 25.0, 20.0)),
    "ra": ((-36.0, -28.0, -8.0), (19.0, 18.0, 26.0)),
}
CHAMBER_WALL_MM = {"lv": 9.0, "rv": 4.0, "la": 2.5, "ra": 2.5}
PERICARDIUM_MM = 4.0

Field: TypeAlias = np.ndarray


@dataclass(frozen=True)
class Grid:
    """Voxel centres in the phantom's mm.

    Args:
        x: (X, 1, 1), y: (1, Y, 1), z: (1, 1, Z), float32, evenly spaced and increasing.
        voxel: size of a voxel along x, y, z in the phantom's mm.
    """

    x: Field
    y: Field
    z: Field
    voxel: tuple[float, float, float]

    def slab(self, span: slice) -> Grid:
        """Return the grid of a range of slices."""
        return Grid(self.x, self.y, self.z[..., span], self.voxel)

    def fraction(self, distance: Field) -> Field:
        """Partial-volume fraction (0 to 1) of a solid from its signed distance: a soft step one voxel wide."""
        edge = float(np.prod(self.voxel)) ** (1 / 3)
        return np.clip(0.5 - distance / edge, 0, 1)


@dataclass(frozen=True)
class Anatomy:
    """What differs from case to case; lengths in the phantom's mm, see ``draw_anatomy`` for the ranges."""

    body: tuple[float, float]
    fat_mm: float
    cavity: tuple[float, float]
    apex_z: float
    dome_z: tuple[float, float]
    mediastinum_mm: float
    spine_y: float
    vertebra: tuple[float, float]
    rib_phase: float
    heart_centre: tuple[float, float, float]
    heart_frame: np.ndarray
    heart_scale: float
    left_heart_hu: float
    right_heart_hu: float
    hu_offset: dict[str, float]

    def hu(self, tissue: str) -> float:
        """HU of a tissue in this case."""
        return TISSUE_HU[tissue] + self.hu_offset.get(tissue, 0.0)


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw one patient; the variation is moderate, so that a few cases are enough to learn from."""

    def around(mean: float, spread: float) -> float:
        return float(mean + spread * rng.uniform(-1, 1))

    body = (around(149, 6), around(105, 4))
    fat_mm = around(11, 3.5)
    dome_z = around(84, 7)
    # Left heart (pulmonary veins, aorta) and right heart (SVC, pulmonary arteries) differ: the bolus passes in turn.
    right_heart_hu = around(300, 35)
    return Anatomy(
        body=body,
        fat_mm=fat_mm,
        cavity=(body[0] - fat_mm - around(20, 2), body[1] - fat_mm - around(13, 2)),
        apex_z=around(238, 6),
        dome_z=(dome_z, dome_z - around(12, 4)),
        mediastinum_mm=around(17, 2),
        spine_y=around(60, 2),
        vertebra=(around(17, 1.2), around(14, 1)),
        rib_phase=around(0, 0.5),
        heart_centre=(around(16, 4), around(-20, 3), around(106, 4)),
        heart_frame=_heart_frame(rng.uniform(-0.14, 0.14, 3)),
        heart_scale=around(1, 0.06),
        left_heart_hu=around(390, 35),
        right_heart_hu=right_heart_hu,
        hu_offset={
            "blood": around(0, 4),
            "muscle": around(0, 4),
            "fat": around(0, 6),
            "lung": around(0, 20),
            "liver": around(0, 5),
            "marrow": around(0, 30),
            "cortical": around(0, 60),
        },
    )


def _heart_frame(turn: np.ndarray) -> np.ndarray:
    """Rows: long axis (to the apex: left, front, down), septal normal (to the left ventricle), and their cross."""
    long_axis = np.array([0.68, -0.52, -0.52]) + turn
    long_axis /= np.linalg.norm(long_axis)
    septal = np.array([0.55, 0.80, 0.10])
    septal -= septal @ long_axis * long_axis
    septal /= np.linalg.norm(septal)
    return np.stack([long_axis, septal, np.cross(long_axis, septal)])


def smooth_max(first: Field, second: Field, radius: float) -> Field:
    """Maximum of two distances with its edge rounded over ``radius`` mm (I. Quilez, polynomial smooth minimum)."""
    blend = np.maximum(radius - np.abs(first - second), 0) / radius
    return np.maximum(first, second) + blend * blend * (radius / 4)


def superellipse(x: Field, y: Field, half: tuple[Field | float, Field | float], power: float = 2.4) -> Field:
    """First-order signed distance to ``|x/a|^p + |y/b|^p = 1``; a and b may change along z."""
    u, v = np.abs(x) / half[0], np.abs(y) / half[1]
    radius = np.maximum((u**power + v**power) ** (1 / power), 0.05)
    slope = np.sqrt((u ** (power - 1) / half[0]) ** 2 + (v ** (power - 1) / half[1]) ** 2 + 1e-12)
    return (radius - 1) * radius ** (power - 1) / slope


def ellipsoid(grid: Grid, centre: np.ndarray, half: np.ndarray, frame: np.ndarray | None = None) -> Field:
    """First-order signed distance to an ellipsoid whose axes are the rows of ``frame``."""
    frame = np.eye(3) if frame is None else frame
    inner: Field = np.float32(0)
    outer: Field = np.float32(1e-9)
    for axis, length in zip(frame.tolist(), half.tolist(), strict=True):
        along = sum(
            a * (g - c) for a, g, c in zip(axis, (grid.x, grid.y, grid.z), centre.tolist(), strict=True) if a != 0
        )
        inner = inner + (along / length) ** 2
        outer = outer + (along / length**2) ** 2
    inner = np.sqrt(inner)
    return inner * (inner - 1) / np.sqrt(outer)


def chambers(grid: Grid, anatomy: Anatomy) -> dict[str, Field]:
    """Signed distance to the blood of each heart chamber."""
    frame, scale = anatomy.heart_frame, anatomy.heart_scale
    return {
        name: ellipsoid(
            grid, np.asarray(anatomy.heart_centre) + scale * np.asarray(offset) @ frame, scale * np.asarray(half), frame
        )
        for name, (offset, half) in CHAMBERS.items()
    }


def heart_wall(blood: dict[str, Field]) -> Field:
    """Signed distance to the heart with its muscle, from that to its chambers."""
    wall: Field = np.float32(1e3)
    for name, distance in blood.items():
        wall = -smooth_max(-wall, CHAMBER_WALL_MM[name] - distance, 10.0)
    return wall


def cavity(grid: Grid, anatomy: Anatomy) -> Field:
    """Signed distance to the inside of the rib cage: a barrel that closes towards the lung apices."""
    rise = np.clip((grid.z - 125) / (anatomy.apex_z - 125), 0, 1)
    a = anatomy.cavity[0] * np.maximum(1 - rise**2.4, 0.002) ** 0.5
    b = anatomy.cavity[1] * np.maximum(1 - rise**2.8, 0.002) ** 0.5
    return superellipse(grid.x, grid.y - 2 - 16 * rise, (a, b), 2.3)


def spine_y(z: Field, anatomy: Anatomy) -> Field:
    """Centre line of the vertebral bodies: the kyphosis bulges backwards in the middle."""
    return anatomy.spine_y - 8 * ((z - 125) / 128) ** 2


def diaphragm(grid: Grid, anatomy: Anatomy) -> tuple[Field, Field]:
    """Height (mm) of the right and left dome above each (x, y); the recesses at their rim reach lowest.

    Between the domes the central tendon carries the heart.
    """
    heights = []
    tendon = min(anatomy.dome_z) - 12 - 34 * ((grid.x - 12) / 60) ** 2 - 26 * ((grid.y + 20) / 50) ** 2
    for side, top in zip((-1, 1), anatomy.dome_z, strict=True):
        bend = ((grid.x - side * 58) / (0.55 * anatomy.cavity[0])) ** 2 + ((grid.y + 8) / anatomy.cavity[1]) ** 2
        heights.append(smooth_max(top - 62 * np.minimum(bend, 1.4) ** 1.3, tendon, 12.0))
    return heights[0], heights[1]


def lungs(grid: Grid, anatomy: Anatomy, inside: Field, heart: Field) -> tuple[Field, Field]:
    """Signed distance to the right and the left lung: the cavity without mediastinum, heart, spine and abdomen.

    Args:
        grid: the voxel centres.
        anatomy: parameters of the case.
        inside: ``cavity(...)``.
        heart: ``heart_wall(...)``.
    """
    hilum = np.exp(-(((grid.z - 145) / 60) ** 2))
    half_width = 10 + (anatomy.mediastinum_mm - 4 + 6 * hilum) * np.exp(-(((grid.y + 4) / 40) ** 2))
    back = superellipse(grid.x, grid.y - spine_y(grid.z, anatomy) - 9, (anatomy.vertebra[0] + 6, 26.0), 2.0)
    kept = smooth_max(inside + 1.5, np.maximum(-back, PERICARDIUM_MM - heart), 6.0)
    right, left = (
        smooth_max(smooth_max(kept, half_width - side * grid.x, 8.0), 0.8 * (dome - grid.z), 5.0)
        for side, dome in zip((-1, 1), diaphragm(grid, anatomy), strict=True)
    )
    return right, left
