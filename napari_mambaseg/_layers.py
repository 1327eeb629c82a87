"""Layers to Volume and LabelMap and back: the one place where that happens.

A layer remembers in `metadata["mambaseg"]`, in plain values, the grid of its file (see `_grid`), so that what is
saved lies voxel by voxel on what was read: same shape, same axes, same affine.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import Float, Num

from mambaseg.atomic import in_one_line
from mambaseg.errors import VolumeError
from mambaseg.volume import LabelMap, StoredSpace, Volume
from napari_mambaseg._grid import Grid, canonical
from napari_mambaseg._label_names import names_of, remembered_names, shown_names
from napari_mambaseg._place import KEY as KEY  # the other modules' one door is this one
from napari_mambaseg._place import lengths_in_mm, transform_of
from napari_mambaseg._place import place_warning as place_warning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.layers import Layer
    from napari.viewer import ViewerModel

LayerData: TypeAlias = "tuple[Any, dict[str, Any], str]"

AXIS_LABELS = ("I", "P", "L")
_SAMPLES = 1_000_000


def image_layers(volume: Volume, name: str | None = None, path: str | None = None) -> list[LayerData]:
    """Describe one image layer per channel; only the first is switched on, they would hide one another.

    Parameters
    ----------
    volume : Volume
        What to show. Its array is not copied.
    name : str, optional
        What to write before the names of the channels.
    path : str, optional
        The file it was read from.

    Returns
    -------
    list of LayerData
        (data, keyword arguments, "image"), as napari's readers give them.
    """
    grid = Grid.of(volume.affine, volume.shape)
    layers: list[LayerData] = []
    for channel in volume.channels:
        shown = grid.show(volume.channel(channel))
        options = _placed(grid, volume.stored, path)
        options["metadata"][KEY] |= {"channel": channel, "warnings": list(volume.warnings)}
        options |= {
            "name": f"{name} {channel}" if name else channel,
            "colormap": "gray",
            "contrast_limits": _contrast_limits(shown),
            "visible": not layers,
        }
        layers.append((shown, options, "image"))
    return layers


def labels_layer(label_map: LabelMap, name: str, path: str | None = None) -> LayerData:
    """Describe a labels layer; where labels have names and colours, it shows them.

    Parameters
    ----------
    label_map : LabelMap
        What to show. Its array is not copied: painting changes it.
    name : str
        The layer's name.
    path : str, optional
        The file it was read from.

    Returns
    -------
    LayerData
        (data, keyword arguments, "labels"), as napari's readers give them.
    """
    grid = Grid.of(label_map.affine, label_map.shape)
    options = _placed(grid, label_map.stored, path) | {"name": name}
    labels = label_map.labels
    if labels:
        options["metadata"][KEY]["labels"] = remembered_names(labels)
        options |= shown_names(labels)
    return grid.show(label_map.data), options, "labels"


def to_volume(data: Any, meta: Mapping[str, Any]) -> Volume:
    """Turn an image layer, as napari gives it to writers, into a volume of one channel.

    A layer from a file goes back to the axes and the affine of that file. For any other, scale, translation,
    rotation and affine are composed, in mm (a pixel counts as one), and the volume gets the order R, A, S.
    """
    shown = _array(data, meta)
    grid, known = _grid_of(shown.shape, meta)
    if shown.dtype == np.bool_:
        shown = shown.astype(np.uint8)
    channel = str(known.get("channel") or meta.get("name") or "image")
    doubts = tuple(known.get("warnings") or ())
    return Volume(grid.restore(shown)[None], grid.affine, (channel,), stored=_stored(known), warnings=doubts)


def to_label_map(data: Any, meta: Mapping[str, Any]) -> LabelMap:
    """Turn a labels layer, as napari gives it to writers, into a label map; geometry as in `to_volume`."""
    shown = _array(data, meta)
    grid, known = _grid_of(shown.shape, meta)
    low, high = (int(shown.min()), int(shown.max())) if shown.size else (0, 0)
    if low < 0:
        raise VolumeError(
            f"the layer {meta.get('name')} has the label {low}; labels are 0 (background) or more; change it first"
        )
    labels = names_of(meta, known.get("labels") or {})
    voxels = grid.restore(shown).astype(np.min_scalar_type(high))
    return LabelMap(voxels, grid.affine, labels, stored=_stored(known))


def show(viewer: ViewerModel, what: Volume | LabelMap, name: str | None = None) -> list[Layer]:
    """Add a volume or a label map to a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to add.
    what : Volume or LabelMap
        What to add: one image layer per channel, or one labels layer.
    name : str, optional
        Name of the labels layer; for a volume, what to write before the names of its channels.

    Returns
    -------
    list of napari.layers.Layer
        The new layers.
    """
    from napari.layers import Layer  # Only here: readers must not pay for it.

    described = image_layers(what, name) if isinstance(what, Volume) else [labels_layer(what, name or "mask")]
    return [viewer.add_layer(Layer.create(*each)) for each in described]


def stands_on(meta: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two layers of the same shape are in the same place, to napari."""
    return bool(np.allclose(transform_of(meta), transform_of(other), rtol=0, atol=1e-6))


def volume_of(layer: Layer) -> Volume:
    """Return the volume that an open image layer shows, of one channel; geometry as in `to_volume`.

    Only public attributes are asked for, so that it works through the proxy that napari gives to plugins. Arrays on
    disk (dask, zarr) are read whole; of several resolutions, the full one.

    Raises
    ------
    VolumeError
        If the layer is no volume: colours, or not three axes.
    """
    return to_volume(layer.data, layer.as_layer_data_tuple()[1])


def label_map_of(layer: Layer) -> LabelMap:
    """Return the label map that an open labels layer shows; as `volume_of`."""
    return to_label_map(layer.data, layer.as_layer_data_tuple()[1])


def geometry_of(layer: Layer) -> tuple[Float[np.ndarray, "4 4"], tuple[int, int, int]]:
    """Return the affine (mm, RAS+) and the shape of a layer's volume without touching a voxel.

    Raises
    ------
    VolumeError
        If the layer is no volume: colours, or not three axes.
    """
    grid = _open_grid(layer)[0]
    return grid.affine, grid.shape


def file_index(layer: Layer, world_point: Sequence[float], units: Any = None) -> tuple[int, int, int]:
    """Return the voxel of a layer's volume, along the axes of its file, at a point of the viewer.

    Parameters
    ----------
    layer : napari.layers.Image or Labels
        Of three axes.
    world_point : sequence of float
        As in `viewer.dims.point`; of more than three numbers the last count.
    units : optional
        What the point is counted in, `viewer.layers.units`; the layer's own if it is not given.

    Returns
    -------
    tuple of int
        Clipped to the volume.
    """
    grid, _ = _open_grid(layer)
    given = np.asarray(world_point, np.float64)[-3:]
    if units is not None:
        given = given * lengths_in_mm(units)[-3:] / lengths_in_mm(layer.units)
    shown = np.clip(np.rint(layer.world_to_data(given)), 0, np.array(grid.shown_shape) - 1)
    i, j, k = np.rint(grid._to_file() @ np.append(shown, 1.0))[:3].astype(int).tolist()
    return i, j, k


def _open_grid(layer: Layer) -> tuple[Grid, dict[str, Any]]:
    meta = layer.as_layer_data_tuple()[1]
    shape = tuple(_full(layer.data, meta).shape)
    _check_axes(len(shape), meta)
    return _grid_of(shape, meta)


def _full(data: Any, meta: Mapping[str, Any]) -> Any:
    """Return the array of full resolution."""
    return data[0] if meta.get("multiscale") else data


def _check_axes(axes: int, meta: Mapping[str, Any]) -> None:
    name = in_one_line(meta.get("name") or "given")
    if meta.get("rgb"):
        raise VolumeError(f"the layer {name} has colours; volumes have three axes and one value per voxel; split it")
    if axes != 3:
        raise VolumeError(f"the layer {name} has {axes} axes; volumes have three axes; give one volume of it")


def _placed(grid: Grid, stored: StoredSpace | None, path: str | None) -> dict[str, Any]:
    """Return what places a layer in the viewer, and what brings it back to its file."""
    remembered = grid.plain() | {"stored": None if stored is None else asdict(stored), "path": path}
    return {
        "scale": grid.scale,
        "translate": grid.translate,
        "units": ("mm",) * 3,
        "axis_labels": AXIS_LABELS,
        "metadata": {KEY: remembered},
    }


def _array(data: Any, meta: Mapping[str, Any]) -> Num[np.ndarray, "s a r"]:
    """Return the voxels of a layer at full resolution, or say why it is no volume."""
    full = _full(data, meta)
    _check_axes(len(full.shape), meta)
    return np.asarray(full)


def _grid_of(shape: Sequence[int], meta: Mapping[str, Any]) -> tuple[Grid, dict[str, Any]]:
    """Return the grid of a layer, and what it remembers if that still holds."""
    now = transform_of(meta)
    remembered = (meta.get("metadata") or {}).get(KEY)
    if remembered:
        grid = Grid.from_plain(remembered)
        if grid.shown_shape == tuple(shape):
            affine = grid.moved(now)
            if affine is grid.affine:
                return grid, remembered
            # The header's own fields describe the old place.
            return Grid(affine, grid.shape, grid.axes, grid.flips), remembered | {"stored": None}
    k, j, i = shape
    return canonical(now, (k, j, i)), {}


def _stored(known: Mapping[str, Any]) -> StoredSpace | None:
    stored = known.get("stored")
    return None if stored is None else StoredSpace(**stored)


def _contrast_limits(data: Num[np.ndarray, "..."]) -> tuple[float, float]:
    """Leave out the darkest 1 % and the brightest 0.5 %: bright fat and vessels would dim the brain."""
    step = max(1, round((data.size / _SAMPLES) ** (1 / 3)))
    values = data[::step, ::step, ::step].astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, (1, 99.5)).tolist()
    if low == high:
        low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low, low + 1.0)
