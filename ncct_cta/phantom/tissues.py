"""Paints the phantom's tissues: each solid is painted over those below it, weighted by its partial volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import anatomy as body
from .anatomy import Anatomy, Field, Grid
from .vessels import Tubes

CORTEX_MM = 1.6
BODY_CENTRE_Y_MM = 5.0
# Texture of unit variance is scaled to these HU: lung has unresolved vessels and airways, other tissues far less.
LUNG_TEXTURE_HU = 24.0
SOFT_TEXTURE_HU = 4.0
# Supine, the lower (posterior) parts of the lungs hold more blood: HU per mm towards the back.
LUNG_GRAVITY_HU_PER_MM = 0.35


@dataclass(frozen=True)
class Slab:
    """What a few slices contain: HU without any blood, and fractions from 0 to 1, all (X, Y, slices)."""

    bloodless_hu: np.ndarray
    lung: np.ndarray
    left_heart: np.ndarray
    right_heart: np.ndarray


class _Canvas:
    """A volume of HU onto which tissues are painted one after the other."""

    def __init__(self, grid: Grid, anatomy: Anatomy) -> None:
        self.grid, self.anatomy = grid, anatomy
        self.hu = np.full((grid.x.size, grid.y.size, grid.z.size), anatomy.hu("air"), np.float32)

    def lay(self, fraction: Field, tissue: str, extra_hu: Field | float = 0.0) -> None:
        """Cover ``fraction`` of each voxel with a tissue."""
        self.hu += fraction * (self.anatomy.hu(tissue) + extra_hu - self.hu)

    def solid(self, distance: Field, tissue: str) -> None:
        """Fill a solid given by its signed distance."""
        self.lay(self.grid.fraction(distance), tissue)

    def bone(self, distance: Field, marrow: str = "marrow") -> None:
        """Fill a bone: a cortical shell round marrow."""
        self.solid(distance, "cortical")
        self.solid(distance + CORTEX_MM, marrow)


def paint_slab(grid: Grid, anatomy: Anatomy, tubes: Tubes, span: slice, texture: np.ndarray) -> Slab:
    """Paint the slices ``span`` of one case.

    Args:
        grid: of the whole volume.
        anatomy: of the case.
        tubes: of the whole volume.
        span: the slices.
        texture: (X, Y, slices), correlated noise of unit variance: the tissues' own structure.
    """
    part = grid.slab(span)
    canvas = _Canvas(part, anatomy)
    inside = body.cavity(part, anatomy)
    chambers = body.chambers(part, anatomy)
    heart = body.heart_wall(chambers)
    lungs = np.minimum(*body.lungs(part, anatomy, inside, heart))
    central = np.maximum(tubes.great_wall[..., span], tubes.airway_wall[..., span]).astype(np.float32)
    lung = part.fraction(lungs) * (1 - central)
    _paint_wall(canvas, inside)
    canvas.solid(inside, "fat")
    _paint_abdomen(canvas, inside)
    _paint_spine(canvas)
    canvas.solid(heart, "myocardium")
    canvas.hu += SOFT_TEXTURE_HU * texture * (canvas.hu > body.TISSUE_HU["fat"] - 50)
    gravity = LUNG_GRAVITY_HU_PER_MM * part.y + LUNG_TEXTURE_HU * texture
    canvas.lay(part.fraction(lungs), "lung", gravity)
    canvas.lay(central, "mediastinum")
    airway = tubes.airway[..., span].astype(np.float32)
    canvas.lay(airway, "air")
    left, right = _blood(part, tubes, span, chambers, np.maximum(lung, central) * (1 - airway))
    return Slab(canvas.hu, lung, left, right)


def _blood(
    part: Grid, tubes: Tubes, span: slice, chambers: dict[str, Field], room: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Blood fractions of the left and right heart's vessels; ``room`` keeps the trees inside the lungs."""
    cavities = {name: part.fraction(distance) for name, distance in chambers.items()}
    left = np.maximum(np.minimum(tubes.left_heart[..., span], room), np.maximum(cavities["lv"], cavities["la"]))
    right = np.maximum(np.minimum(tubes.right_heart[..., span], room), np.maximum(cavities["rv"], cavities["ra"]))
    return left, np.minimum(right, 1 - left)


def _paint_wall(canvas: _Canvas, inside: Field) -> None:
    """Skin, subcutaneous fat, muscle with a fat plane in it, ribs, sternum and shoulder blades."""
    grid, anatomy = canvas.grid, canvas.anatomy
    skin = body.superellipse(grid.x, grid.y - BODY_CENTRE_Y_MM, anatomy.body, 2.5)
    canvas.solid(skin, "muscle")
    canvas.solid(skin + 2, "fat")
    canvas.solid(skin + anatomy.fat_mm, "muscle")
    canvas.solid(np.abs(inside - 13) - 0.9, "fat")
    for side in (-1, 1):
        armpit = body.ellipsoid(grid, np.array([side * 112.0, 8.0, 205.0]), np.array([25.0, 38.0, 75.0]))
        canvas.solid(body.smooth_max(armpit, 15 - inside, 8.0), "fat")
    _paint_ribs(canvas, inside)
    front = anatomy.cavity[1] - 3
    sternum = np.maximum(np.abs(grid.x) - 15, np.abs(grid.y + front + 6) - 5)
    canvas.bone(np.maximum(sternum, np.abs(grid.z - 140) - 62))
    blade = body.superellipse(grid.x, grid.y - 2, (anatomy.cavity[0] + 12, anatomy.cavity[1] + 15), 2.3)
    blade = np.maximum(np.abs(blade) - 2.4, np.abs(np.abs(grid.x) - 84) - 32)
    canvas.bone(np.maximum(np.maximum(blade, 12 - grid.y), np.abs(grid.z - 182) - 50))


def _paint_ribs(canvas: _Canvas, inside: Field) -> None:
    """Ribs run forwards and downwards in a shell round the cavity and end in cartilage beside the sternum."""
    grid, anatomy = canvas.grid, canvas.anatomy
    turn = (grid.z - 0.4 * grid.y) / body.RIB_PITCH_MM + anatomy.rib_phase
    beside = (turn - np.round(turn)) * body.RIB_PITCH_MM * 0.93
    rib = (np.sqrt(((inside - 6) / 4.0) ** 2 + (beside / 6.5) ** 2) - 1) * 4.0
    rib = np.maximum(rib, grid.z - anatomy.apex_z + 6)
    cartilage = np.maximum(grid.y + 40, np.abs(grid.x) - 62)
    canvas.bone(np.maximum(rib, -cartilage))
    canvas.solid(np.maximum(rib, cartilage), "cartilage")


def _paint_abdomen(canvas: _Canvas, inside: Field) -> None:
    """Liver, spleen and stomach in the fat under the diaphragm, and the diaphragm's muscle itself."""
    grid, anatomy = canvas.grid, canvas.anatomy
    right, left = body.diaphragm(grid, anatomy)
    side = grid.x - 14
    under = np.maximum(inside, 0.8 * (grid.z - np.where(side < 0, right, left)))
    canvas.solid(under, "muscle")
    room = under + 3.5
    canvas.solid(room, "fat")
    canvas.solid(body.smooth_max(under + 1.5, side + 0.45 * grid.y, 12.0), "liver")
    spleen = body.ellipsoid(grid, np.array([82.0, 44.0, 40.0]), np.array([26.0, 32.0, 38.0]))
    stomach = body.ellipsoid(grid, np.array([62.0, -26.0, 34.0]), np.array([32.0, 34.0, 34.0]))
    canvas.solid(np.maximum(room, spleen), "spleen")
    canvas.solid(np.maximum(room, stomach), "stomach")
    canvas.solid(np.maximum(np.maximum(room, stomach + 4), grid.y + 40), "air")


def _paint_spine(canvas: _Canvas) -> None:
    """Back muscle, vertebral bodies with discs, the canal with its arch, and the processes."""
    grid, anatomy = canvas.grid, canvas.anatomy
    x, y = grid.x, grid.y - body.spine_y(grid.z, anatomy)
    level = grid.z / body.VERTEBRA_PITCH_MM
    from_centre = np.abs(level - np.round(level)) * body.VERTEBRA_PITCH_MM
    skin = body.superellipse(grid.x, grid.y - BODY_CENTRE_Y_MM, anatomy.body, 2.5)
    canvas.solid(np.maximum(body.superellipse(x, y - 28, (42.0, 20.0), 2.0), skin + anatomy.fat_mm), "muscle")
    column = body.superellipse(x, y, anatomy.vertebra, 2.2)
    canvas.solid(column, "disc")
    canvas.bone(np.maximum(column, from_centre - 9.5))
    arch = np.hypot(x, y - anatomy.vertebra[1] - 8) - 12
    transverse = np.maximum(np.maximum(np.abs(x) - 32, np.abs(y - anatomy.vertebra[1] - 10) - 4.5), from_centre - 6)
    spinous = np.maximum(np.maximum(np.abs(x) - 3.2, np.abs(y - anatomy.vertebra[1] - 19) - 8), from_centre - 8)
    canvas.bone(np.minimum(np.minimum(arch, transverse), spinous))
    canvas.solid(arch + 4, "canal")
    canvas.solid(np.hypot(x - 5, y + anatomy.vertebra[1] + 9) - 6.5, "muscle")  # oesophagus
