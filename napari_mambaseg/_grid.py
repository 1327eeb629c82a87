"""Where the voxels of a volume lie in a layer, and back: the arithmetic, without layers.

napari shows axis-aligned boxes, slices along the first axis and draws the second downwards, the third to the right.
So a layer's axes point to inferior, posterior and left (I, P, L): a transverse slice has anterior up and the
patient's left on the right, as radiologists look at it; coronal and sagittal slices have the head up; and the 3-D
view is not mirrored, because I, P, L is right-handed. World coordinates of a layer are RAS+ mm, negated, in the order
(z, y, x). An oblique volume is shown straight, turned about its centre; its own affine is kept for saving.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from nibabel.orientations import io_orientation

from mambaseg.volume import spacing_of

# From RAS+ to (inferior, posterior, left). It is its own inverse.
RAS_TO_SHOWN = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]], np.float64)
# A layer moved by less than this, in mm, was not moved: arithmetic of a viewer leaves such traces.
_STILL_MM = 1e-4


@dataclass(frozen=True, eq=False)
class Grid:
    """The grid of a file and the way its axes are shown."""

    affine: Float[np.ndarray, "4 4"]
    """Of the file's axes (i, j, k), in mm RAS+."""
    shape: tuple[int, int, int]
    """Along i, j, k."""
    axes: tuple[int, ...]
    """For each axis of the layer, the axis of the file."""
    flips: tuple[bool, ...]
    """For each axis of the layer, whether it runs against the file's."""

    @classmethod
    def of(cls, affine: Float[np.ndarray, "4 4"], shape: tuple[int, int, int]) -> Grid:
        """Choose the axes nearest to inferior, posterior and left."""
        orientation = io_orientation(affine)
        nearest = [int(axis) for axis in orientation[:, 0]]
        axes = tuple(nearest.index(world) for world in (2, 1, 0))
        flips = tuple(bool(orientation[axis, 1] > 0) for axis in axes)
        return cls(affine, shape, axes, flips)

    @property
    def shown_shape(self) -> tuple[int, ...]:
        """Voxels along the axes of the layer."""
        return tuple(self.shape[axis] for axis in self.axes)

    @property
    def scale(self) -> tuple[float, ...]:
        """Voxel size along the axes of the layer, in mm."""
        spacing = spacing_of(self.affine)
        return tuple(spacing[axis] for axis in self.axes)

    @property
    def translate(self) -> tuple[float, ...]:
        """Where the layer's first voxel is shown, so that the centre of the volume is in its true place."""
        centre = (np.array(self.shown_shape) - 1) / 2
        true = RAS_TO_SHOWN @ self.affine @ self._to_file() @ np.append(centre, 1.0)
        return tuple((true[:3] - centre * self.scale).tolist())

    @property
    def shown(self) -> Float[np.ndarray, "4 4"]:
        """From indices of the layer to its world."""
        matrix = np.diag([*self.scale, 1.0])
        matrix[:3, 3] = self.translate
        return matrix

    def show(self, data: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "s a r"]:
        """Return a view of an array of the file, in the axes of the layer."""
        return self._flip(data.transpose(self.axes))

    def restore(self, data: Shaped[np.ndarray, "s a r"]) -> Shaped[np.ndarray, "i j k"]:
        """Return a view of an array of the layer, in the axes of the file."""
        return self._flip(data).transpose(np.argsort(self.axes))

    def moved(self, now: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
        """Return the affine of the file after its layer was put to `now`, a matrix like `shown`.

        The very same affine comes back while the layer stands where it was shown.
        """
        corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*self.shown_shape, 1]
        if np.abs((now - self.shown) @ corners.T).max() < _STILL_MM:
            return self.affine
        return np.asarray(RAS_TO_SHOWN @ now @ np.linalg.inv(self.shown) @ RAS_TO_SHOWN @ self.affine)

    def plain(self) -> dict[str, Any]:
        """Return it as lists, numbers and booleans, for a layer's metadata."""
        return {
            "affine": self.affine.tolist(),
            "shape": list(self.shape),
            "axes": list(self.axes),
            "flips": list(self.flips),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Grid:
        """Undo `plain`."""
        i, j, k = plain["shape"]
        return cls(np.array(plain["affine"], np.float64), (i, j, k), tuple(plain["axes"]), tuple(plain["flips"]))

    def _flip(self, data: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        return data[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def _to_file(self) -> Float[np.ndarray, "4 4"]:
        """From indices of the layer to indices of the file."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for shown, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            matrix[axis, shown] = -1 if flip else 1
            matrix[axis, 3] = self.shape[axis] - 1 if flip else 0
        return matrix


def canonical(now: Float[np.ndarray, "4 4"], shown_shape: tuple[int, int, int]) -> Grid:
    """Return the grid in the order R, A, S of a layer that no file stands behind.

    Parameters
    ----------
    now
        From indices of the layer to its world, in mm.
    shown_shape
        Voxels along the axes of the layer.
    """
    k, j, i = shown_shape
    grid = Grid(np.eye(4), (i, j, k), (2, 1, 0), (True, True, True))
    affine = RAS_TO_SHOWN @ now @ np.linalg.inv(grid._to_file())
    return Grid(affine, grid.shape, grid.axes, grid.flips)


def degrees_oblique(affine: Float[np.ndarray, "4 4"]) -> float:
    """Return the largest angle between an axis of a volume and the body's axis nearest to it."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    nearest = io_orientation(affine)[:, 0].astype(int)
    cosines = np.abs(directions[nearest, np.arange(3)])
    return float(np.degrees(np.arccos(np.clip(cosines, 0, 1))).max())
