"""How a volume lies: which of its axes runs where. Without torch, because the window asks too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Float
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Orientation:
    """The way from a volume's axes (i, j, k) to the network's (slice, row, column) = (S, P, L)."""

    axes: tuple[int, int, int]
    """Which of i, j, k becomes slices, rows and columns."""
    flipped: tuple[int, ...]
    """Which of slices (0), rows (1) and columns (2) then run the other way."""

    def sort(self, values: Sequence[T]) -> tuple[T, T, T]:
        """Bring what belongs to i, j, k into the order of slices, rows, columns."""
        slices, rows, columns = self.axes
        return values[slices], values[rows], values[columns]


def orientation_of(affine: Float[np.ndarray, "4 4"]) -> Orientation:
    """Return the way to the nearest S, P, L axes; an oblique volume is not turned."""
    wanted = axcodes2ornt(("L", "P", "S"))
    transform = ornt_transform(io_orientation(affine), wanted)
    found = {2 - int(axis): (own, int(flip)) for own, (axis, flip) in enumerate(transform)}
    return Orientation(
        axes=(found[0][0], found[1][0], found[2][0]), flipped=tuple(dim for dim in range(3) if found[dim][1] < 0)
    )


def axial_axis(affine: Float[np.ndarray, "4 4"]) -> int:
    """Return which of i, j, k runs nearest to the patient's long axis."""
    return orientation_of(affine).axes[0]
