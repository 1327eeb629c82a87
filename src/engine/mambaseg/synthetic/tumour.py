"""Tumours: where they grow, what they push aside, what they look like and their true mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mambaseg.synthetic.contrast import Canvas, Tissue
from mambaseg.synthetic.fields import Box, Chance, FloatArray, Grid, Points, soft

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mambaseg.synthetic.brain import Brain

TOTAL_ML = (18.0, 58.0)
"""All tumours of an adult head together."""
ENHANCES = 0.35
"""Share of heads whose tumour takes up contrast agent in part."""


@dataclass(frozen=True)
class Growth:
    """One tumour before it meets its surroundings: a ball, in mm of the head's frame."""

    centre: tuple[float, float, float]
    radius: float
    stretch: tuple[float, float, float]
    push: float
    """Share of its distance from the centre by which tissue near the centre is displaced."""

    def depth(self, points: Points) -> FloatArray:
        """Depth below the ball's surface."""
        away = (((p - np.float32(c)) / np.float32(s)) ** 2
                for p, c, s in zip(points, self.centre, self.stretch, strict=True))
        depth: FloatArray = np.float32(self.radius) - np.sqrt(sum(away))
        return depth


def plan_growths(count: int, chance: Chance) -> list[Growth]:
    """Choose centres in the white matter of one or both hemispheres, and sizes that add up to `TOTAL_ML`."""
    if count == 0:
        return []
    draw = chance.stream("tumours")
    total = draw.uniform(*TOTAL_ML)
    parts = draw.dirichlet(np.full(count, 6.0)) * total
    growths = []
    for ml in parts:
        side = draw.choice((-1.0, 1.0))
        centre = (side * draw.uniform(27, 40), draw.uniform(-46, 42), draw.uniform(8, 38))
        stretch = np.exp(draw.normal(0, 0.15, 3))
        radius = float(np.cbrt(3000 * ml / (4 * np.pi) / np.prod(stretch)))
        x, y, z = stretch.tolist()
        growths.append(Growth(centre, radius, (x, y, z), float(draw.uniform(0.15, 0.32))))
    return growths


def true_extent(grid: Grid, points: Points, brain: Brain, growths: Sequence[Growth], chance: Chance) -> FloatArray:
    """Depth below the tumours' true, irregular surface in mm, negative outside.

    The surface is a level of the balls plus noise that keeps off skull, ventricles and the other hemisphere; the
    level is the one at which the volume is as planned.
    """
    lumps = chance.lattice("tumour lumps", 11.0).on(grid)
    frays = chance.lattice("tumour frays", 4.5).on(grid)
    depth = np.full(lumps.shape, -1e3, np.float32)
    for growth in growths:
        uneven = np.float32(0.19) * lumps + np.float32(0.06) * frays
        away = growth.depth(points) + np.float32(growth.radius) * uneven
        side = np.copysign(np.float32(1), np.float32(growth.centre[0])) * brain.points[0]
        # Across the midline a glioma follows the corpus callosum, not the cerebrospinal fluid.
        np.minimum(away, side - np.float32(1.5), out=away)
        np.maximum(depth, away, out=depth)
    np.minimum(depth, brain.cavity - np.float32(2.5), out=depth)
    np.minimum(depth, -brain.ventricle - np.float32(0.5), out=depth)
    steps = [abs(float(axis[1] - axis[0])) if len(axis) > 1 else 1.0 for axis in grid.axes]
    planned = sum(4 / 3 * np.pi * g.radius**3 * float(np.prod(g.stretch)) for g in growths)
    wanted = min(int(planned / float(np.prod(steps))), depth.size - 1)
    level = np.partition(depth.ravel(), depth.size - 1 - wanted)[depth.size - 1 - wanted]
    found: FloatArray = depth - level
    return found


def paint_tumour(
    canvas: Canvas, grid: Grid, box: Box, brain: Brain, depth: FloatArray, chance: Chance
) -> None:
    """Paint the tumours with a border that fades over a few mm."""
    tissue = soft(brain.pial, grid.edge_mm) * soft(brain.cavity - 1, grid.edge_mm)
    share = soft(depth, chance.between("tumour border", 2.0, 5.0)) * tissue
    blotches = chance.lattice("tumour blotches", 6.0).on(grid)
    mottle = 1 + np.float32(0.07) * blotches + np.float32(0.04) * chance.lattice("tumour grain", 2.6).on(grid)
    canvas.paint(Tissue.TUMOUR, share * np.float32(0.95), box, mottle)
    if chance.between("enhances", 0.0, 1.0) < ENHANCES:
        rim = soft(np.float32(1.6) - np.abs(depth - 6), 1.5) * soft(blotches - np.float32(0.2), 0.6)
        canvas.paint(Tissue.ENHANCING, rim * tissue, box)
