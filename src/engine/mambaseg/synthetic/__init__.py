"""A synthetic head with brain tumours, for tests, examples and trying things out without patient data."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from mambaseg.errors import VolumeError
from mambaseg.synthetic.brain import build_brain, paint_brain
from mambaseg.synthetic.contrast import CHANNELS, Canvas
from mambaseg.synthetic.fields import Chance, Grid, soft
from mambaseg.synthetic.head import build_head, paint_head
from mambaseg.synthetic.tumour import paint_tumour, plan_growths, true_extent
from mambaseg.volume import Label, LabelMap, Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SyntheticCase", "synthetic_brain"]

TUMOUR = Label("tumour", "#e6550d")
SMALLEST_AXIS = 16
MOST_TUMOURS = 4
_NEAR_MM = np.float32(5.0)
_BRAIN_MM = ((-76.0, -98.0, -90.0), (76.0, 96.0, 82.0))


@dataclass(frozen=True, eq=False)
class SyntheticCase:
    """A synthetic head and the truth about it."""

    volume: Volume
    truth: LabelMap
    """Label 1 is the whole FLAIR abnormality: tumour and oedema."""


def synthetic_brain(
    seed: int = 0,
    shape: Sequence[int] = (192, 224, 32),
    spacing_mm: Sequence[float] = (1.0, 1.0, 5.0),
    channels: Sequence[str] = CHANNELS,
    tumours: int = 1,
    skull: bool = True,
) -> SyntheticCase:
    """Make a head as MRI shows it, with tumours in the white matter of a hemisphere.

    The same seed gives the same head on every grid. A field of view that is too small for an adult's head holds
    a smaller head, with tumours smaller in proportion.

    Parameters
    ----------
    seed
        0 or more; another seed is another person.
    shape
        Voxels to the left, to posterior and to superior: the axes as they are stored.
    spacing_mm
        Voxel size along these axes, in mm.
    channels
        Some of "flair", "t1", "t1c" (T1 post contrast), in any order.
    tumours
        0 to 4; together they take 15 to 60 ml of an adult's head.
    skull
        Whether the head is whole; otherwise all but the inside of the skull is 0.

    Returns
    -------
    SyntheticCase
        `volume` has float32 data of shape (channel, i, j, k), in arbitrary units that differ by channel.

    Raises
    ------
    VolumeError
        If an argument is out of its range.
    """
    _check(seed, shape, spacing_mm, channels, tumours)
    grid, chance = Grid.of(shape, spacing_mm), Chance(seed)
    head = build_head(grid, chance)
    canvas = Canvas(grid, channels, chance)
    paint_head(canvas, grid, head, chance)
    box = grid.box(*_BRAIN_MM)
    part, cavity = grid.within(box), head.cavity[box]
    x, y, z = (p[box] for p in head.points)
    growths = plan_growths(tumours, chance)
    brain = build_brain(part, (x, y, z), cavity, growths, chance)
    paint_brain(canvas, part, box, brain, chance)
    inside = np.full(head.skin.shape, -_NEAR_MM, np.float32)
    if growths:
        depth = true_extent(part, (x, y, z), brain, growths, chance)
        paint_tumour(canvas, part, box, brain, depth, chance)
        inside[box] = np.clip(depth, -_NEAR_MM, _NEAR_MM)
    data = canvas.scanned()
    if not skull:
        data *= grid.to_voxels(soft(head.cavity, 1.0)) > 0.5
    affine = _affine(shape, spacing_mm)
    # The mean depth decides: a vote of a few fine points would end in ties, and ties in a larger tumour.
    truth = (grid.to_voxels(inside) > 0).astype(np.uint8)
    return SyntheticCase(
        Volume(data, affine, tuple(channels)), LabelMap(truth, affine, MappingProxyType({1: TUMOUR}))
    )


def _affine(shape: Sequence[int], spacing_mm: Sequence[float]) -> np.ndarray:
    steps = np.array([-1.0, -1.0, 1.0]) * np.asarray(spacing_mm, np.float64)
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = -steps * (np.asarray(shape, np.float64) - 1) / 2
    return affine


def _check(seed: int, shape: Sequence[int], spacing_mm: Sequence[float], channels: Sequence[str], tumours: int) -> None:
    if seed < 0:
        raise VolumeError(f"the seed is {seed}; seeds are 0 or more; give such a whole number")
    if len(shape) != 3 or min(shape) < SMALLEST_AXIS:
        raise VolumeError(
            f"the shape {tuple(shape)} cannot hold a head; three axes of {SMALLEST_AXIS} voxels or more are needed; "
            "give a larger shape"
        )
    if len(spacing_mm) != 3 or not all(np.isfinite(step) and step > 0 for step in spacing_mm):
        raise VolumeError(
            f"the spacing {tuple(spacing_mm)} is not possible; it is three positive numbers of mm; give one per axis"
        )
    unknown = [name for name in channels if name not in CHANNELS]
    if unknown or not channels:
        raise VolumeError(
            f"the channels {tuple(channels)} cannot be drawn; there are {', '.join(CHANNELS)}; "
            "give one or more of these"
        )
    if len(set(channels)) != len(channels):
        raise VolumeError(f"the channels {tuple(channels)} repeat; each is drawn once; give each name once")
    if not 0 <= tumours <= MOST_TUMOURS:
        raise VolumeError(f"{tumours} tumours were asked for; 0 to {MOST_TUMOURS} are possible; give such a number")
