"""The phantom's tubes: great vessels, airways and the pulmonary trees, drawn with partial volume.

Coordinates are those of ``phantom_anatomy``: x to the left, y to the back, z to the head, in the phantom's mm.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import make_interp_spline

from .anatomy import Grid

# Control points (x, y, z, radius) in mm. Left heart: aorta with its branches, pulmonary veins.
AORTA = (
    (6, -16, 118, 13), (-12, -26, 138, 15.5), (-15, -27, 160, 15), (0, -18, 181, 13.5), (20, 0, 188, 12.5),
    (27, 24, 181, 12), (27, 42, 160, 11.5), (25, 46, 120, 11), (18, 45, 60, 10.5), (8, 42, -15, 10),
)  # fmt: skip
AORTIC_BRANCHES = (
    ((-2, -17, 184, 6), (-12, -10, 205, 5.5), (-20, -4, 230, 5), (-26, 0, 275, 4.5)),
    ((10, -8, 190, 4), (14, -2, 215, 3.6), (17, 2, 275, 3.4)),
    ((22, 6, 190, 5), (28, 14, 212, 4.5), (34, 14, 240, 4.2), (52, 10, 275, 4)),
)
PULMONARY_VEINS = {  # from the left atrium to the hilum, where a tree takes over
    "right upper": ((-6, 4, 122, 6), (-26, -2, 128, 6), (-40, -6, 134, 5.5)),
    "right lower": ((-4, 12, 121, 6.5), (-24, 18, 114, 6), (-40, 21, 108, 5.5)),
    "left upper": ((14, 4, 126, 6), (30, -2, 132, 6), (44, -6, 138, 5.5)),
    "left lower": ((8, 12, 121, 6.5), (28, 19, 117, 6), (44, 26, 110, 5.5)),
}
# Right heart: superior vena cava with the brachiocephalic veins, pulmonary arteries.
VENA_CAVA = (
    ((-26, -22, 112, 9), (-29, -17, 140, 9), (-29, -16, 165, 8.5), (-27, -18, 196, 8)),
    ((-27, -18, 194, 7), (-4, -34, 206, 6.5), (22, -30, 222, 6), (48, -16, 240, 5.5), (80, -10, 262, 5.5)),
    ((-27, -18, 194, 6.5), (-36, -18, 220, 6), (-52, -12, 242, 5.5), (-80, -6, 264, 5.5)),
)
PULMONARY_TRUNK = ((22, -46, 112, 12), (20, -40, 132, 13), (17, -24, 148, 13), (17, -10, 153, 12))
PULMONARY_ARTERIES = {
    "right": ((17, -10, 152, 10), (0, -3, 148, 10), (-22, 2, 145, 9.5), (-42, 8, 140, 8.5)),
    "left": ((17, -10, 154, 11), (28, 6, 156, 10), (40, 18, 150, 9), (46, 24, 140, 8)),
}
TRACHEA = ((-2, 2, 275, 8.5), (-2, 8, 225, 8.5), (-1, 16, 190, 8.5), (0, 20, 167, 9))
BRONCHI = {
    "right": ((0, 20, 167, 7.5), (-16, 20, 155, 7), (-36, 20, 143, 6)),
    "left": ((0, 20, 167, 7), (20, 22, 152, 6), (42, 26, 138, 5.5)),
}
VESSEL_WALL_MM = 1.8
CONTROL_JITTER_MM = 1.8
MAX_LEAVES = 2500
MAX_SUBSAMPLES = 5


@dataclass(frozen=True)
class Tubes:
    """Partial-volume fractions (0 to 1, float16, shape (X, Y, Z)) of everything tubular."""

    left_heart: np.ndarray
    right_heart: np.ndarray
    great_wall: np.ndarray
    airway: np.ndarray
    airway_wall: np.ndarray


def draw_cone(fraction: np.ndarray, grid: Grid, start: np.ndarray, end: np.ndarray) -> None:
    """Draw a round-ended cone into ``fraction`` in place, supersampled where it is thinner than a voxel.

    Args:
        fraction: (X, Y, Z), on ``grid``, the union of what was drawn so far.
        grid: the voxel centres.
        start: (4,) x, y, z and radius in mm.
        end: (4,) the same.
    """
    reach = max(start[3], end[3])
    box, square, along, steps = [], np.float32(0), np.float32(0), []
    axis = end[:3] - start[:3]
    for d, centres in enumerate((grid.x, grid.y, grid.z)):
        size, shape = grid.voxel[d], [1, 1, 1, 1, 1, 1]
        low = (min(start[d], end[d]) - reach - float(centres.flat[0])) / size
        high = (max(start[d], end[d]) + reach - float(centres.flat[0])) / size
        span = slice(max(int(np.ceil(low - 0.5)), 0), min(int(np.floor(high + 0.5)) + 1, centres.size))
        if span.start >= span.stop:
            return
        count = int(np.clip(np.ceil(size / max(reach, 1e-6)), 1, MAX_SUBSAMPLES))
        inner = (np.arange(count, dtype=np.float32) + 0.5) / count - 0.5
        points = (centres.ravel()[span, None] + inner * size - start[d]).astype(np.float32)
        shape[2 * d], shape[2 * d + 1] = points.shape
        points = points.reshape(shape)
        box.append(span)
        steps.append(size / count)
        square = square + points**2
        along = along + points * np.float32(axis[d])
    length = float(axis @ axis) + 1e-9
    where = np.clip(along / np.float32(length), 0, 1)
    distance = np.sqrt(np.maximum(square - where * (2 * along - where * np.float32(length)), 0))
    radius = np.float32(start[3]) + where * np.float32(end[3] - start[3])
    edge = np.float32(np.prod(steps) ** (1 / 3))
    drawn = np.clip(0.5 + (radius - distance) / edge, 0, 1).mean(axis=(1, 3, 5))
    target = fraction[tuple(box)]
    np.maximum(target, drawn.astype(fraction.dtype), out=target)


def draw_path(fraction: np.ndarray, grid: Grid, path: np.ndarray, thicker: float = 0.0) -> None:
    """Draw a polyline (N, 4: x, y, z, radius), its radius increased by ``thicker`` mm."""
    path = path + np.array([0, 0, 0, thicker])
    for start, end in itertools.pairwise(path):
        draw_cone(fraction, grid, start, end)


def smooth_path(control: np.ndarray, step_mm: float = 6.0) -> np.ndarray:
    """A spline through control points (N, 4), sampled about every ``step_mm``."""
    lengths = np.linalg.norm(np.diff(control[:, :3], axis=0), axis=1)
    position = np.concatenate([[0], np.cumsum(lengths)])
    spline = make_interp_spline(position, control, k=min(3, len(control) - 1))
    return spline(np.linspace(0, position[-1], int(position[-1] / step_mm) + 2))


def grow_tree(rng: np.random.Generator, root: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
    """Grow a vessel from ``root`` to every target by splitting the targets in halves, trunk first.

    Radii follow Murray's law (PNAS 1926): the cube of the parent's is the sum of the cubes of the children's.

    Args:
        rng: draws the splits and bends.
        root: (4,) where the tree starts: x, y, z, radius.
        targets: (N, 3) end points inside the lung.

    Returns:
        Slightly bent polylines (N, 4), one per branch.
    """
    branches: list[np.ndarray] = []
    waiting = [(np.asarray(root, float), targets)]
    while waiting:
        start, points = waiting.pop()
        share = 1.0 if len(points) == 1 else rng.uniform(0.34, 0.5)
        end = start[:3] + share * (points.mean(axis=0) - start[:3])
        radius = root[3] * (len(points) / len(targets)) ** (1 / 3)
        bend = rng.normal(0, 0.07 * np.linalg.norm(end - start[:3]), 3)
        middle = (start[:3] + end) / 2 + bend
        thick = min(start[3], radius * 1.15)
        branches.append(np.array([[*start[:3], thick], [*middle, radius], [*end, radius * 0.97]]))
        if len(points) > 1:
            spread = np.linalg.eigh(np.cov(points.T))[1][:, -1] + rng.normal(0, 0.15, 3)
            order = np.argsort(points @ spread, kind="stable")
            cut = int(np.clip(round(len(points) * rng.uniform(0.35, 0.65)), 1, len(points) - 1))
            waiting += [(branches[-1][-1], points[order[:cut]]), (branches[-1][-1], points[order[cut:]])]
    return branches


def draw_tubes(
    rng: np.random.Generator, grid: Grid, sample_lung: Callable[[np.random.Generator, int, int], np.ndarray]
) -> Tubes:
    """Draw all tubes of one case.

    Args:
        rng: draws the jitter of the control points and the trees.
        grid: the voxel centres.
        sample_lung: (rng, side, count) -> (count, 3) points inside the right (-1) or left (1) lung.
    """
    shape = (grid.x.size, grid.y.size, grid.z.size)
    tubes = Tubes(*(np.zeros(shape, np.float16) for _ in range(5)))
    shift = rng.normal(0, 1.5, 3)

    def varied(control: Iterable[tuple[float, ...]], scale: float) -> np.ndarray:
        points = np.array([*control], float)
        points[:, :3] += shift + rng.normal(0, CONTROL_JITTER_MM, (len(points), 3)).clip(-4, 4)
        points[:, 3] *= scale
        return smooth_path(points)

    def vessels(blood: np.ndarray, paths: Iterable[np.ndarray]) -> None:
        for path in paths:
            draw_path(blood, grid, path)
            draw_path(tubes.great_wall, grid, path, VESSEL_WALL_MM)

    aortic, venous, pulmonary = (float(s) for s in rng.uniform(0.92, 1.08, 3))
    arteries = {side: varied(path, pulmonary) for side, path in PULMONARY_ARTERIES.items()}
    veins = {name: varied(path, pulmonary) for name, path in PULMONARY_VEINS.items()}
    vessels(tubes.left_heart, [varied(path, aortic) for path in (AORTA, *AORTIC_BRANCHES)] + [*veins.values()])
    vessels(tubes.right_heart, [varied(path, venous) for path in VENA_CAVA])
    vessels(tubes.right_heart, [varied(PULMONARY_TRUNK, pulmonary), *arteries.values()])
    for path in [varied(TRACHEA, aortic)] + [varied(p, aortic) for p in BRONCHI.values()]:
        draw_path(tubes.airway, grid, path)
        draw_path(tubes.airway_wall, grid, path, VESSEL_WALL_MM)
    for side, name in ((-1, "right"), (1, "left")):
        roots = [veins[f"{name} upper"][-1], veins[f"{name} lower"][-1]]
        _draw_trees(rng, tubes.right_heart, grid, [arteries[name][-1]], sample_lung, side)
        _draw_trees(rng, tubes.left_heart, grid, roots, sample_lung, side)
    return tubes


def _draw_trees(
    rng: np.random.Generator,
    fraction: np.ndarray,
    grid: Grid,
    roots: list[np.ndarray],
    sample_lung: Callable[[np.random.Generator, int, int], np.ndarray],
    side: int,
) -> None:
    """Fill one lung with the trees of one kind; each end point goes to the nearest root."""
    thinnest = 0.42 * min(grid.voxel)
    volume = sum(float(root[3]) ** 3 for root in roots)
    targets = sample_lung(rng, side, int(np.clip(volume / thinnest**3, 10 * len(roots), MAX_LEAVES)))
    height = np.stack([np.linalg.norm(targets - root[:3], axis=1) for root in roots])
    for number, root in enumerate(roots):
        mine = targets[height.argmin(axis=0) == number]
        for branch in grow_tree(rng, root, mine) if len(mine) else ():
            draw_path(fraction, grid, branch)
