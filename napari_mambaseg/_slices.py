"""Which axial slice of a volume is meant when the user points at a place in the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mambaseg.orientation import axial_axis
from napari_mambaseg._layers import file_index, geometry_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class AxialSlice(NamedTuple):
    """One slice, counted twice."""

    stored: int
    """Along the volume's own axial axis, as the engine and the command line count."""
    shown: int
    """From the top of the head, as napari's slider counts."""


def axial_slice(layer: Any, point: Sequence[float], units: Any = None) -> AxialSlice:
    """Return the axial slice of a layer's volume at a world point, whatever plane is on screen.

    `units` are those that the viewer counts in, `viewer.layers.units`, where they are not the layer's.
    """
    affine, shape = geometry_of(layer)
    axis = axial_axis(affine)
    stored = file_index(layer, point, units)[axis]
    upwards = affine[2, axis] > 0
    return AxialSlice(stored, shape[axis] - 1 - stored if upwards else stored)
