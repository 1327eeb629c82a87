"""Everything but the brain: outline of the head, scalp, skull, face, skull base, eyes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from mambaseg.synthetic.contrast import Canvas, Tissue
from mambaseg.synthetic.fields import Chance, FloatArray, Grid, Points, ellipsoid, soft


@dataclass(frozen=True)
class Head:
    """The two surfaces all else is placed by, on the fine grid."""

    points: Points
    """Coordinates in the head's own frame: x = 0 is its midline. Full arrays."""
    skin: FloatArray
    """Depth below the skin in mm."""
    cavity: FloatArray
    """Depth below the inner table of the skull in mm."""


def build_head(grid: Grid, chance: Chance) -> Head:
    """Pose a head in the scanner and find its surfaces."""
    points = _posed(grid, chance)
    # A few tenths of millimetres are left to the unevenness that makes no two outlines alike.
    uneven = chance.lattice("outline", 34.0).on(grid)
    skin = _skin(points) + np.float32(1.2) * uneven
    cavity = _cavity(points) + np.float32(0.9) * uneven
    return Head(points, skin, cavity)


def paint_head(canvas: Canvas, grid: Grid, head: Head, chance: Chance) -> None:
    """Paint scalp, skull and face; the cavity is left for the brain."""
    edge, (_, _, z) = grid.edge_mm, head.points
    skin = head.skin
    patches = chance.lattice("flesh", 7.0).on(grid)
    streaks = 1 + np.float32(0.12) * chance.lattice("streaks", 3.0).on(grid)
    canvas.paint(Tissue.FAT, soft(skin, edge), texture=streaks)
    # Low in the head fat gives way to muscle, mucosa and air cells; high up only a thin galea lies under the fat.
    deep = soft(-30 - z, 25.0) * soft(skin - 7, 4.0)
    canvas.paint(Tissue.MUSCLE, deep * soft(patches + np.float32(0.95), 0.7), texture=streaks)
    canvas.paint(Tissue.MUCOSA, deep * soft(patches - np.float32(1.2), 0.4))
    _paint_temporalis(canvas, grid, head)
    _paint_skull(canvas, grid, head, chance.lattice("marrow", 15.0).on(grid))
    canvas.paint(Tissue.SKIN, soft(skin, edge) * soft(np.float32(1.6) - skin, edge), texture=streaks)
    _paint_face(canvas, grid, head, patches)
    _paint_spine(canvas, grid, head)


def _posed(grid: Grid, chance: Chance) -> Points:
    angles = chance.stream("pose").normal(0, (2.5, 1.5, 2.0))
    sizes = 1 + np.clip(chance.stream("size").normal(0, (0.025, 0.025, 0.02)), -0.04, 0.04)
    turn = (Rotation.from_euler("xyz", angles, degrees=True).as_matrix() / sizes[:, None]).astype(np.float32)
    a, b, c = grid.points
    x, y, z = (row[0] * a + row[1] * b + row[2] * c for row in turn)
    return x, y, z


def _egg(points: Points, radii: tuple[float, float, float], below: float, steep: int = 1) -> FloatArray:
    """An ellipsoid that is narrow at the forehead and reaches `below` mm down instead of radii[2].

    With `steep` above 1 its lower half keeps its width for longer.
    """
    x, y, z = points
    narrow = 1 + np.float32(0.10) * np.tanh((y - 5) / 60)
    down = np.where(z < 0, np.float32(radii[2]) * np.abs(z / np.float32(below)) ** steep, z)
    return ellipsoid((x * narrow, y, down), (0, -2, 0), radii)


def _skin(points: Points) -> FloatArray:
    x, y, z = points
    skull = _egg(points, (75.5, 95.0, 78.0), 175.0)
    nose = 20 * np.exp(-((x / 9) ** 2) - ((z + 52) / 16) ** 2) * soft(y - 76, 14.0)
    ears = 6 * np.exp(-(((y + 14) / 8) ** 2) - ((z + 36) / 14) ** 2) * soft(np.abs(x) - 66, 8.0)
    # The nape recedes under the occiput.
    nape = 0.45 * np.clip(-58 - z, 0, None) * soft(-35 - y, 40.0)
    return (skull + nose + ears - nape).astype(np.float32)


def _cavity(points: Points) -> FloatArray:
    x, y, z = points
    depth = _egg(points, (64.5, 83.5, 68.0), 29.0, steep=2)
    # Under the vault the middle fossae hold the temporal lobes and the posterior fossa the cerebellum.
    np.maximum(depth, ellipsoid((np.abs(x), y, z), (33, 4, -20), (30, 36, 23)), out=depth)
    np.maximum(depth, ellipsoid(points, (0, -44, -34), (53, 41, 31)), out=depth)
    return depth


def _paint_temporalis(canvas: Canvas, grid: Grid, head: Head) -> None:
    x, y, z = head.points
    flank = soft(np.abs(x) - 50, 8.0) * soft(12 - z, 16.0) * soft(np.float32(34) - np.abs(y - 16), 14.0)
    canvas.paint(Tissue.MUSCLE, flank * soft(head.skin - np.float32(3.2), 1.5))


def _paint_skull(canvas: Canvas, grid: Grid, head: Head, patches: FloatArray) -> None:
    edge, (_, _, z) = grid.edge_mm, head.points
    # The skull base is thin where it holds no air cells.
    thick = np.float32(3.5) + np.float32(3.5) * soft(z + 26, 20.0) + patches * np.float32(0.4)
    outside = -head.cavity
    covered = soft(head.skin - np.float32(3.4), edge)
    canvas.paint(Tissue.BONE, soft(thick - outside, edge) * covered)
    # Marrow lies between the tables, more of it at the forehead and the back than at the sides.
    marrow = soft(np.float32(1.4) - np.abs(outside - thick * np.float32(0.55)), edge)
    canvas.paint(Tissue.MARROW, marrow * soft(patches + np.float32(0.3), 2.0) * soft(z + 30, 12.0) * covered)


def _paint_face(canvas: Canvas, grid: Grid, head: Head, patches: FloatArray) -> None:
    edge, (x, y, z) = grid.edge_mm, head.points
    outside, side = soft(-2 - head.cavity, 2.0), np.abs(x)
    sinus = ellipsoid((x, y, z), (0, 62, -46), (13, 30, 22))
    canvas.paint(Tissue.AIR, soft(sinus, edge) * outside)
    canvas.paint(Tissue.MUCOSA, soft(sinus, 3.0) * soft(2 - np.abs(np.abs(side - 5) - 2), 2.0) * outside * 0.55)
    mastoid = ellipsoid((side, y, z), (46, -20, -44), (20, 19, 15)) + 3 * patches
    canvas.paint(Tissue.BONE, soft(mastoid, 3.0) * outside)
    clivus = ellipsoid((x, y, z), (0, 6, -42), (16, 13, 13))
    canvas.paint(Tissue.MARROW, soft(clivus, edge) * outside * 0.6)
    orbit = ellipsoid((side - np.float32(0.30) * (y - 62), y, z), (31, 58, -32), (17, 27, 15))
    canvas.paint(Tissue.FAT, soft(orbit, edge) * outside)
    cone = ellipsoid((side - np.float32(0.30) * (y - 62), y, z), (31, 52, -32), (2.2, 24, 2.2))
    canvas.paint(Tissue.MUSCLE, soft(cone, edge) * outside)
    globe = ellipsoid((side, y, z), (32, 72, -32), (12, 12, 12))
    canvas.paint(Tissue.MUSCLE, soft(globe + 1, edge) * outside)
    canvas.paint(Tissue.EYE, soft(globe, edge) * outside)


def _paint_spine(canvas: Canvas, grid: Grid, head: Head) -> None:
    edge, (x, y, z) = grid.edge_mm, head.points
    below = soft(-2 - head.cavity, 2.0) * soft(-54 - z, 6.0)
    # The canal runs on from the foramen magnum, with a vertebra's body in front and an arch around it.
    radius = np.hypot(x, y + 24)
    body = ellipsoid((x, y, np.zeros_like(z)), (0, -6, 0), (11, 8, 1e3))
    canvas.paint(Tissue.MARROW, soft(body, edge) * below * np.float32(0.55))
    canvas.paint(Tissue.BONE, soft(np.float32(12.5) - radius, edge) * below)
    canvas.paint(Tissue.CSF, soft(np.float32(9.5) - radius, edge) * below)
    canvas.paint(Tissue.WHITE, soft(np.float32(5.5) - radius, edge) * below)
