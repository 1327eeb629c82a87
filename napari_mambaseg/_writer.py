"""Save layers as NIfTI or MGZ, on the grid of the file they came from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mambaseg.errors import VolumeError
from mambaseg.files import write
from napari_mambaseg._layers import KEY, stands_on, to_label_map, to_volume

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Save an image layer; `_layers.to_volume` says on which grid."""
    write(to_volume(data, _with_source(data, meta)), path)
    return [path]


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Save a labels layer as a mask.

    A mask that we made or read gets the shape and affine of its file. So does one that the user made in napari
    ("new labels layer") while the image below it is open. Without that image the mask lies in the same place, but in
    the order R, A, S, and straight even if the image was oblique.
    """
    write(to_label_map(data, _with_source(data, meta)), path)
    return [path]


def _with_source(data: Any, meta: dict[str, Any]) -> dict[str, Any]:
    """Add to a layer without memory that of the open layer it was made on.

    napari copies scale and translation to a new labels layer, not the metadata; an oblique volume's true position is
    only there.
    """
    own = meta.get("metadata") or {}
    if KEY in own:
        return meta
    found = [known for known in _open_grids() if _fits(data, meta, known)]
    if not found:
        return meta
    first, *others = (known["metadata"][KEY] for known in found)
    if any(other["affine"] != first["affine"] or other["axes"] != first["axes"] for other in others):
        raise VolumeError(
            f"the layer {meta.get('name')} lies on several open images that have different affines; remove all but "
            "the image it belongs to, then save it"
        )
    grid = {key: first[key] for key in ("affine", "shape", "axes", "flips", "stored")}
    return meta | {"metadata": own | {KEY: grid}}


def _open_grids() -> list[Mapping[str, Any]]:
    """Describe the open layers that remember their file; none without a window."""
    if "napari.viewer" not in sys.modules:
        return []
    from napari import current_viewer

    viewer = current_viewer()
    layers = [] if viewer is None else viewer.layers
    return [layer.as_layer_data_tuple()[1] for layer in layers if KEY in layer.metadata]


def _fits(data: Any, meta: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    remembered = known["metadata"][KEY]
    shape = tuple(remembered["shape"][axis] for axis in remembered["axes"])
    return getattr(data, "shape", None) == shape and stands_on(meta, known)
