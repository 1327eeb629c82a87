"""The space a synthetic head is drawn in: coordinates, named random streams, smooth noise, soft edges.

All lengths are mm of an adult head: x to the right, y to anterior, z to superior, origin in the head's middle.
Noise lives on lattices fixed in that space, so one seed gives the same head on every grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray: TypeAlias = NDArray[np.float32]
Points: TypeAlias = tuple[FloatArray, FloatArray, FloatArray]
"""x, y and z of many points; three arrays that broadcast against one another."""
Box: TypeAlias = tuple[slice, slice, slice]

REACH_MM = 150.0
"""Noise lattices span this far from the origin; what lies beyond is air and sees the lattice's edge."""
HEAD_MM = (176.0, 216.0, 150.0)
"""The field of view an adult head needs along x, y, z; a smaller one gets a smaller head."""


@dataclass(frozen=True)
class Grid:
    """Voxel centres of the fine grid the head is drawn on, and how they come together as voxels."""

    axes: tuple[FloatArray, FloatArray, FloatArray]
    """x, y and z of the fine grid, in mm of an adult head."""
    per_voxel: tuple[int, int, int]
    """Fine points per voxel along each axis."""
    scale: float
    """Size of this head relative to an adult's."""

    @classmethod
    def of(cls, shape: Sequence[int], spacing_mm: Sequence[float]) -> Grid:
        """Lay a fine grid over `shape` voxels whose first two axes run to the left and to posterior."""
        extent = [n * step for n, step in zip(shape, spacing_mm, strict=True)]
        scale = min(1.0, *(have / need for have, need in zip(extent, HEAD_MM, strict=True)))
        axes, fine = [], []
        for n, step, sign in zip(shape, spacing_mm, (-1, -1, 1), strict=True):
            # Voxels of 3 mm and more mix tissues visibly; drawing parts of them mixes them as a scanner does.
            parts = int(np.clip(round(step / scale / 2.0), 1, 3))
            index = (np.arange(n * parts) + 0.5) / parts - n / 2
            axes.append((sign * index * step / scale).astype(np.float32))
            fine.append(parts)
        return cls((axes[0], axes[1], axes[2]), (fine[0], fine[1], fine[2]), scale)

    @property
    def points(self) -> Points:
        """x, y, z as open arrays."""
        x, y, z = self.axes
        return x[:, None, None], y[None, :, None], z[None, None, :]

    @property
    def edge_mm(self) -> float:
        """Width of a tissue border: about one fine step."""
        return float(max(1.0, np.mean([abs(a[1] - a[0]) for a in self.axes[:2]])))

    def box(self, low: Sequence[float], high: Sequence[float]) -> Box:
        """Slices that hold all points between two corners in mm, and one point at least."""
        i, j, k = (_span(a, lo, hi) for a, lo, hi in zip(self.axes, low, high, strict=True))
        return i, j, k

    def within(self, box: Box) -> Grid:
        """Return the part of the grid in `box`."""
        x, y, z = (axis[part] for axis, part in zip(self.axes, box, strict=True))
        return Grid((x, y, z), self.per_voxel, self.scale)

    def to_voxels(self, fine: FloatArray) -> FloatArray:
        """Average the fine points of every voxel."""
        (a, b, c), (i, j, k) = self.per_voxel, fine.shape
        if a == b == c == 1:
            return fine
        parts = fine.reshape(i // a, a, j // b, b, k // c, c)
        return np.asarray(parts.mean(axis=(1, 3, 5)), np.float32)


def _span(axis: FloatArray, low: float, high: float) -> slice:
    inside = np.flatnonzero((axis >= low) & (axis <= high))
    return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 1)


@dataclass(frozen=True)
class Chance:
    """Random numbers by purpose: a stream does not change when another is used more or less."""

    seed: int

    def stream(self, purpose: str) -> np.random.Generator:
        """Return the generator that belongs to `purpose`, from its start."""
        return np.random.default_rng([self.seed, crc32(purpose.encode())])

    def between(self, purpose: str, low: float, high: float) -> float:
        """Draw one number, evenly from low to high."""
        return float(self.stream(purpose).uniform(low, high))

    def lattice(self, purpose: str, step_mm: float, banded: bool = False) -> Lattice:
        """Draw smooth noise of mean 0 and deviation 1 whose bumps are about 2 to 3 `step_mm` apart."""
        count = int(2 * REACH_MM / step_mm) + 5
        knots = self.stream(purpose).standard_normal((count,) * 3, dtype=np.float32)
        if banded:
            # Without its long waves the noise crosses zero at even distances, as gyri follow one another.
            knots -= ndimage.gaussian_filter(knots, 1.3)
        value = knots
        for axis in range(3):
            value = ndimage.convolve1d(value, np.array([1, 4, 1]) / 6, axis=axis)
        return Lattice((knots / value.std()).astype(np.float32), step_mm)


@dataclass(frozen=True)
class Lattice:
    """Smooth noise in space: coefficients of B-splines, `step_mm` apart."""

    knots: FloatArray
    step_mm: float

    def on(self, grid: Grid) -> FloatArray:
        """Evaluate at every point of a grid: three small matrix products instead of one look-up per point."""
        value: FloatArray = self.knots
        for axis in grid.axes:
            value = np.tensordot(value, self._weights(axis), axes=(0, 1))
        return value

    def at(self, points: Points) -> FloatArray:
        """Evaluate at points that lie on no grid."""
        where = np.stack([(np.clip(p, -REACH_MM, REACH_MM) + REACH_MM) / self.step_mm + 1.0 for p in points])
        found: FloatArray = ndimage.map_coordinates(self.knots, where, order=2, prefilter=False, output=np.float32)
        return found

    def _weights(self, axis: FloatArray) -> FloatArray:
        """Cubic B-spline weights, one row per coordinate."""
        where = (np.clip(axis, -REACH_MM, REACH_MM) + REACH_MM) / self.step_mm + 1.0
        away = np.abs(where[:, None] - np.arange(self.knots.shape[0]))
        near = 2 / 3 - away**2 + away**3 / 2
        far = np.clip(2 - away, 0, None) ** 3 / 6
        weights: FloatArray = np.where(away < 1, near, far).astype(np.float32)
        return weights


def soft(inside_mm: FloatArray, edge_mm: float) -> FloatArray:
    """Share of a voxel that is inside, from its distance to the border (positive inside)."""
    share = inside_mm * np.float32(1 / edge_mm)
    share += np.float32(0.5)
    return np.clip(share, 0, 1, out=share)


def ellipsoid(points: Points, centre: Sequence[float], radii: Sequence[float]) -> FloatArray:
    """Distance to an ellipsoid's surface in mm, positive inside; exact only near the surface."""
    u, v, w = (((p - np.float32(c)) * np.float32(1 / r)) ** 2 for p, c, r in zip(points, centre, radii, strict=True))
    rho = np.sqrt(u + v + w)
    a, b, c = (np.float32(1 / r**2) for r in radii)
    distance: FloatArray = (1 - rho) * rho / (np.sqrt(a * u + b * v + c * w) + np.float32(1e-6))
    return distance
