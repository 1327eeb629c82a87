"""The brain: folded cortex, white matter, ventricles, deep nuclei, cerebellum and brain stem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mambaseg.synthetic.contrast import Canvas, Tissue
from mambaseg.synthetic.fields import Chance, FloatArray, Grid, Points, ellipsoid, soft

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mambaseg.synthetic.tumour import Growth

Paint: TypeAlias = Callable[[Tissue, FloatArray], None]

_VENTRICLE = (
    # x, y, z and radius along one lateral ventricle, from the frontal horn to the occipital one, in mm.
    (9.0, 34.0, 6.0, 2.5), (8.5, 22.0, 14.0, 4.6), (8.5, 4.0, 21.0, 4.2), (12.0, -18.0, 21.0, 4.2),
    (20.0, -36.0, 12.0, 5.6), (25.0, -48.0, 4.0, 4.0), (23.0, -64.0, 3.0, 1.5),
)
_TEMPORAL_HORN = ((21.0, -36.0, 8.0, 4.0), (31.0, -26.0, -8.0, 2.2), (31.0, -4.0, -19.0, 1.6))


@dataclass(frozen=True)
class Brain:
    """Distances inside the brain on its part of the fine grid, in mm, positive inside."""

    points: Points
    """Coordinates in a standard brain, after this head's own deformation and the tumour's pressure."""
    cavity: FloatArray
    """Depth below the skull."""
    fissure: FloatArray
    """Distance from the wall of the fissure between the hemispheres."""
    pial: FloatArray
    """Depth below the surface of the cerebrum, sulci included."""
    ventricle: FloatArray
    """Depth inside the lateral and third ventricles."""


def build_brain(grid: Grid, points: Points, cavity: FloatArray, growths: Sequence[Growth], chance: Chance) -> Brain:
    """Deform a standard brain into this head and find its surfaces.

    Parameters
    ----------
    grid
        The part of the fine grid that holds the brain.
    points, cavity
        Head coordinates and depth below the skull there.
    growths
        Tumours, which push their surroundings aside and close the sulci they fill.
    chance
        The random streams of this head.
    """
    bent = _bent(grid, points, growths, chance)
    x, y, z = bent
    # The fissure ends at the corpus callosum: inside this ellipse in the midline plane the hemispheres join.
    joined = 30 * (1 - np.sqrt(((y + 5) / 43) ** 2 + ((z - 4) / 25) ** 2))
    wide = np.float32(chance.between("fissure", 0.6, 1.3))
    fissure = np.hypot(x, np.clip(joined, 0, None)) - wide
    rim = np.float32(chance.between("rim", 0.8, 2.2))
    outer = np.minimum(cavity - rim, fissure)
    filled = np.zeros_like(outer)
    for growth in growths:
        np.maximum(filled, soft(growth.depth(points), 10.0), out=filled)
    pial = np.minimum(_sulci(grid, bent, outer, filled, chance), outer)
    np.minimum(pial, _sylvian(bent, chance.lattice("insula", 8.0).on(grid)), out=pial)
    size = np.float32(chance.between("ventricles", -1.0, 1.8))
    side = (np.abs(x), y, z)
    lateral = np.maximum(_tube(side, _VENTRICLE), _tube(side, _TEMPORAL_HORN)) + size
    third = ellipsoid(bent, (0, -4, 1), (2.0, 13, 10)) + size * np.float32(0.3)
    return Brain(bent, cavity, fissure, pial, np.maximum(lateral, third))


def paint_brain(canvas: Canvas, grid: Grid, box: tuple[slice, slice, slice], brain: Brain, chance: Chance) -> None:
    """Paint all of the brain but its tumours into `box`."""
    edge, inside = grid.edge_mm, soft(brain.cavity, grid.edge_mm)
    grain = 1 + np.float32(0.022) * chance.lattice("grain", 2.6).on(grid)
    grain += np.float32(0.022) * chance.lattice("mottle", 11.0).on(grid)

    def paint(tissue: Tissue, share: FloatArray) -> None:
        canvas.paint(tissue, share * inside, box, grain)

    paint(Tissue.CSF, np.ones_like(inside))
    tissue = soft(brain.pial, edge)
    paint(Tissue.WHITE, tissue)
    ribbon = np.float32(3.1) + np.float32(0.5) * chance.lattice("ribbon", 9.0).on(grid)
    # Where white meets grey the border is less sharp than where grey meets fluid.
    paint(Tissue.GREY, tissue * soft(ribbon - brain.pial, 1.8 * edge))
    side = (np.abs(brain.points[0]), *brain.points[1:])
    _paint_nuclei(paint, side, edge)
    paint(Tissue.RIM, soft(brain.ventricle + np.float32(1.2), 2.5) * np.float32(0.8))
    paint(Tissue.CSF, soft(brain.ventricle, edge))
    plexus = ellipsoid(side, (20, -38, 11), (3, 4, 4))
    paint(Tissue.PLEXUS, soft(plexus, 2.0) * soft(brain.ventricle, edge))
    _paint_low(paint, brain, side, edge, chance.lattice("folia", 8.0).on(grid))
    _paint_vessels(paint, brain, edge, chance.lattice("vessels", 4.0).on(grid))


def _bent(grid: Grid, points: Points, growths: Sequence[Growth], chance: Chance) -> Points:
    bent = [p + np.float32(1.7) * chance.lattice(f"bend {n}", 26.0).on(grid) for n, p in enumerate(points)]
    for growth in growths:
        away = [p - np.float32(c) for p, c in zip(points, growth.centre, strict=True)]
        far = sum(a**2 for a in away) / np.float32((1.5 * growth.radius) ** 2)
        push = np.float32(growth.push) * np.exp(-far)
        bent = [b - a * push for b, a in zip(bent, away, strict=True)]
    x, y, z = bent
    return x, y, z


def _sulci(grid: Grid, points: Points, outer: FloatArray, filled: FloatArray, chance: Chance) -> FloatArray:
    """Distance from the walls of the sulci: sheets where a noise is zero, down to some depth.

    The noise hardly changes along rays from the core of a hemisphere, so the sheets stand upright on its surface.
    """
    x, y, z = points
    core = (np.copysign(np.float32(26), x), np.clip(y, -46, 36), np.clip(z, -8, 20))
    rays = [p - c for p, c in zip(points, core, strict=True)]
    length = np.sqrt(sum(r**2 for r in rays))
    factor = np.float32(0.40) + np.float32(0.60 * 40) / np.maximum(length, 9)
    folds = chance.lattice("folds", 6.3, banded=True).at(
        (core[0] + rays[0] * factor, core[1] + rays[1] * factor, core[2] + rays[2] * factor)
    )
    slope = np.sqrt(sum(s**2 for s in np.gradient(folds, *grid.axes)))
    away = np.abs(folds) / (slope + np.float32(0.05))
    depth = np.clip(outer, 0, None)
    deepest = np.float32(14) + np.float32(4) * chance.lattice("sulcal depth", 14.0).on(grid)
    # The temporal lobes are slim: sulci as deep as elsewhere would leave them no white matter.
    deepest -= np.float32(6) * soft(-8 - z, 12.0)
    open_mm = np.float32(chance.between("sulcal width", 0.15, 0.7)) + np.float32(0.9) * np.exp(depth / np.float32(-4))
    # Towards the core all rays meet and would bundle the sheets, so they end before it.
    ends = np.clip(np.maximum(depth - deepest, 17 - length), 0, None)
    walls: FloatArray = np.hypot(away, ends) - open_mm * (1 - filled) + filled
    return walls


def _sylvian(points: Points, wavy: FloatArray) -> FloatArray:
    """Distance from the walls of the lateral fissure and of the cistern over the insula."""
    x, y, z = points
    side = np.abs(x)
    short = np.clip(np.abs(y + 4) - 29, 0, None) ** 2
    cleft = np.sqrt((z - 3 + y / 4) ** 2 + short + np.clip(37 - side, 0, None) ** 2) - 1
    insula = (side - 39 + (y - 4) ** 2 / 130 + np.float32(1.3) * wavy) ** 2
    insula = insula + np.clip(np.abs(z - 3) - 10, 0, None) ** 2 + np.clip(np.abs(y - 5) - 15, 0, None) ** 2
    cistern = np.sqrt(insula) - np.float32(0.6) - np.float32(0.5) * wavy
    walls: FloatArray = np.minimum(cleft, cistern).astype(np.float32)
    return walls


def _tube(points: Points, line: Sequence[tuple[float, float, float, float]]) -> FloatArray:
    """Depth inside a tube along a line of points with radii."""
    best = np.full(points[0].shape, -1e3, np.float32)
    for start, stop in pairwise(line):
        along = np.subtract(stop, start).astype(np.float32)
        away = [p - np.float32(s) for p, s in zip(points, start, strict=False)]
        share = sum(a * d for a, d in zip(away, along[:3], strict=True)) / np.sum(along[:3] ** 2)
        share = np.clip(share, 0, 1)
        distance = np.sqrt(sum((a - share * d) ** 2 for a, d in zip(away, along[:3], strict=True)))
        np.maximum(best, start[3] + share * along[3] - distance, out=best)
    return best


def _paint_nuclei(paint: Paint, side: Points, edge: float) -> None:
    x, y, z = side
    # Putamen and pallidum lie along the internal capsule: farther from the middle at the back.
    slanted = (x + (y - 4) * np.float32(0.25), y, z)
    behind = (x + (y + 12) * np.float32(0.25), y, z)
    paint(Tissue.NUCLEUS, soft(ellipsoid(slanted, (26, 5, 3), (5.5, 16, 10)), 2 * edge))
    paint(Tissue.PALLIDUM, soft(ellipsoid(slanted, (18.5, 2, 1), (4.0, 9, 7)), 2 * edge))
    paint(Tissue.NUCLEUS, soft(ellipsoid(side, (13, 19, 9), (5, 9, 10)), 2 * edge))
    paint(Tissue.NUCLEUS, soft(ellipsoid(behind, (9.5, -14, 6), (7.5, 14, 9)), 3 * edge) * 0.85)


def _paint_low(paint: Paint, brain: Brain, side: Points, edge: float, wavy: FloatArray) -> None:
    """Cerebellum, brain stem and the cisterns around them."""
    points = brain.points
    lobes = np.maximum(ellipsoid(side, (21, -50, -40), (31, 33, 22)), ellipsoid(points, (0, -54, -38), (13, 26, 20)))
    lobes = np.minimum(lobes, brain.cavity - 2)
    stem = np.maximum(ellipsoid(points, (0, -18, -36), (16, 13, 16)), ellipsoid(points, (0, -25, -62), (8, 8, 26)))
    stem = np.maximum(stem, ellipsoid(points, (0, -17, -16), (17, 11, 13)))
    low = soft(-11 - points[2], 5.0)
    paint(Tissue.CSF, soft(ellipsoid(points, (0, 9, -22), (11, 9, 6)) + wavy, edge))
    paint(Tissue.CSF, soft(ellipsoid(points, (0, -37, 0), (9, 5.5, 8)) + wavy, edge))
    paint(Tissue.CSF, soft(stem + 2, 1.5 * edge) * low)
    paint(Tissue.CSF, soft(lobes + np.float32(1.2), edge))
    paint(Tissue.CEREBELLUM, soft(lobes, edge))
    # Folia: thin dark clefts, one behind the other, parallel to the surface.
    clefts = np.cos(lobes * np.float32(2.1) + wavy * np.float32(1.5)) - np.float32(0.5)
    faint = np.float32(0.28) * soft(wavy + 1, 2.0) * soft(11 - lobes, 8.0)
    paint(Tissue.CSF, soft(clefts, 0.9) * soft(lobes, edge) * faint)
    paint(Tissue.WHITE, soft(lobes - np.float32(10.5) + wavy, 7.0) * np.float32(0.9))
    paint(Tissue.WHITE, soft(stem, edge) * soft(4 - points[2], 12.0))
    paint(Tissue.CSF, soft(ellipsoid(points, (0, -34, -38), (6, 3.5, 9)), edge))


def _paint_vessels(paint: Paint, brain: Brain, edge: float, spots: FloatArray) -> None:
    x, y, z = brain.points
    middle, upper = np.abs(x), soft(np.maximum(z - 4, -52 - y), 10.0)
    paint(Tissue.FALX, soft(np.float32(0.5) - middle, edge) * soft(-brain.fissure, edge) * upper)
    sagittal = np.float32(4.5) - middle - np.clip(brain.cavity - 1, 0, None) * np.float32(0.8)
    paint(Tissue.VEIN, soft(sagittal, edge) * upper)
    transverse = np.float32(3.8) - np.hypot(brain.cavity - 2, z + 26 + middle / 10)
    paint(Tissue.VEIN, soft(transverse, edge) * soft(-30 - y, 8.0))
    fluid = soft(np.float32(0.4) - brain.pial, edge) * soft(brain.cavity, edge)
    paint(Tissue.VEIN, soft(spots - np.float32(1.7), 0.6) * fluid * soft(z + 20, 8.0))
