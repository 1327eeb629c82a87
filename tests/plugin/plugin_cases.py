"""Affines that real files have, small."""

from __future__ import annotations

import numpy as np

PLUGIN = "napari-mambaseg"
SHAPE = (8, 9, 10)


def tilted(degrees: float, axis: int) -> np.ndarray:
    """A rotation about one axis."""
    turn = np.deg2rad(degrees)
    block = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.eye(4)
    others = [each for each in range(3) if each != axis]
    matrix[np.ix_(others, others)] = block
    return matrix


def placed(order: tuple[int, int, int], signs: tuple[int, int, int]) -> np.ndarray:
    """An affine whose axes i, j, k run along the world axes in `order`, with different spacings and an offset."""
    affine = np.zeros((4, 4))
    for voxel_axis, (world, sign, step) in enumerate(zip(order, signs, (1.0, 1.5, 3.0), strict=True)):
        affine[world, voxel_axis] = sign * step
    affine[:, 3] = [-31.0, 12.5, 7.0, 1.0]
    return affine


STRAIGHT = {
    "RAS": placed((0, 1, 2), (1, 1, 1)),
    "LPS": placed((0, 1, 2), (-1, -1, 1)),
    "ASR": placed((1, 2, 0), (1, 1, 1)),
    "SLP": placed((2, 0, 1), (1, -1, -1)),
    "PIL": placed((1, 2, 0), (-1, -1, -1)),
}
OBLIQUE = {
    "oblique": tilted(20, 0) @ STRAIGHT["LPS"],
    "oblique and permuted": tilted(30, 2) @ tilted(-15, 1) @ STRAIGHT["SLP"],
    "45 degrees": tilted(45, 2) @ STRAIGHT["RAS"],
}
SHEARED = {"sheared": STRAIGHT["RAS"] @ np.array([[1, 0.2, 0, 0], [0, 1, 0.1, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])}
AFFINES = STRAIGHT | OBLIQUE | SHEARED
