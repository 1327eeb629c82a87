"""The open layers as the dock widget sees them: cheap facts, no voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.orientations import io_orientation

from mambaseg.errors import VolumeError
from mambaseg.volume import corners_apart_mm, spacing_of
from napari_mambaseg._channels import guess_channel
from napari_mambaseg._layers import KEY, geometry_of, place_warning

if TYPE_CHECKING:
    from jaxtyping import Float
    from napari.components import ViewerModel

UNCERTAINTY = "uncertainty"
"""The engine's name for the channel."""
_PLANES = ("sagittal", "coronal", "axial")
# Two grids are the same if their corners are nearer than this, in mm: the engine's own tolerance.
_SAME_MM = 1e-3


@dataclass(frozen=True, eq=False)
class OpenLayer:
    """One open image or labels layer."""

    key: str
    name: str
    is_mask: bool
    is_derived: bool = False
    """Whether it shows what a model thought of a volume, and so is no input."""
    problem: str = ""
    """Why it is no volume; "" if it is one."""
    warning: str = ""
    """What to know about its place."""
    affine: Float[np.ndarray, "4 4"] | None = None
    shape: tuple[int, ...] = ()
    channel: str | None = None

    @property
    def is_volume(self) -> bool:
        """Whether a model may be given this layer."""
        return not (self.is_mask or self.is_derived or self.problem)

    @property
    def summary(self) -> str:
        """Size, spacing and the plane of the slices."""
        if self.affine is None:
            return self.problem
        spacing = [f"{length:.3g}" for length in spacing_of(self.affine)]
        millimetres = spacing[0] if len(set(spacing)) == 1 else "×".join(spacing)
        plane = _PLANES[int(io_orientation(self.affine)[2, 0])]
        return f"{'×'.join(map(str, self.shape))}  {millimetres} mm  {plane}"

    def same_grid(self, other: OpenLayer) -> bool:
        """Whether both lie voxel on voxel."""
        if self.affine is None or other.affine is None or self.shape != other.shape:
            return False
        return corners_apart_mm(self.affine, other.affine, self.shape) <= _SAME_MM


def key_of(layer: Any) -> str:
    """Return what stays the same while a layer is renamed and moved."""
    return str(layer.unique_id)


def meta_of(layer: Any) -> dict[str, Any]:
    """Return what napari would give to a writer: name, scale, translation, affine, units and metadata."""
    return dict(layer.as_layer_data_tuple()[1])


def open_layers(viewer: ViewerModel) -> tuple[OpenLayer, ...]:
    """Describe the images and masks of a viewer, the first at the bottom of its list first."""
    return tuple(_describe(layer, kind) for layer in viewer.layers if (kind := kind_of(layer)) in ("image", "labels"))


def kind_of(layer: Any) -> str:
    """Return napari's word for the type of a layer."""
    # A plugin sees layers through napari's proxy: only the class says what is behind it.
    names = {cls.__name__ for cls in layer.__class__.__mro__}
    return next((word for word in ("labels", "image", "shapes", "points") if word.capitalize() in names), "other")


def _describe(layer: Any, kind: str) -> OpenLayer:
    key, name, is_mask = key_of(layer), str(layer.name), kind == "labels"
    try:
        affine, shape = geometry_of(layer)
    except VolumeError as error:
        return OpenLayer(key, name, is_mask, problem=str(error))
    meta = meta_of(layer)
    known = (meta.get("metadata") or {}).get(KEY) or {}
    is_derived = known.get("channel") == UNCERTAINTY
    channel = guess_channel(name) or guess_channel(str(known.get("channel") or ""))
    return OpenLayer(key, name, is_mask, is_derived, "", place_warning(meta) or "", affine, shape, channel)
