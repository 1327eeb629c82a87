"""Save layers as NIfTI or MGZ, on the grid of the file they came from."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mambaseg.errors import FileError, VolumeError
from mambaseg.extensions import WRITABLE, extension_of
from mambaseg.files import check_writable_target, write
from mambaseg.label_table import read_label_table, table_path, write_label_table
from mambaseg.volume import LabelMap
from napari_mambaseg._layers import KEY, stands_on, to_label_map, to_volume
from napari_mambaseg._together import together

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mambaseg.volume import Volume


def write_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Save an image layer; `_layers.to_volume` says on which grid."""
    return _save({_ended(path): to_volume(data, _with_source(data, meta))})


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Save a labels layer as a mask, and the names of its labels in a table beside it (`mambaseg.label_table`).

    A mask that we made or read gets the shape and affine of its file. So does one that the user made in napari
    ("new labels layer") while the image below it is open. Without that image the mask lies in the same place, but in
    the order R, A, S, and straight even if the image was oblique.
    """
    return _save({_ended(path): to_label_map(data, _with_source(data, meta))})


def write_layers(path: str, layers: list[tuple[Any, dict[str, Any], str]]) -> list[str]:
    """Save several layers, each to a file of its own, NAME_LAYER.nii.gz for NAME.nii.gz: all of them or none.

    A single layer gets the very name that was chosen.
    """
    if len(layers) == 1:
        ((data, meta, kind),) = layers
        return (write_labels if kind == "labels" else write_image)(path, data, meta)
    chosen = _ended(path)
    ending = chosen.name[-len(extension_of(chosen, WRITABLE)) :]
    stem = chosen.name[: -len(ending)]
    wanted: dict[Path, Volume | LabelMap] = {}
    taken: set[str] = set()
    for data, meta, kind in layers:
        target = chosen.with_name(f"{stem}_{_in_a_file_name(str(meta.get('name') or kind))}{ending}")
        if target.name.casefold() in taken:
            raise FileError(
                f"two layers would be saved as {target.name}; give them names that differ in letters or digits"
            )
        taken.add(target.name.casefold())
        turned = to_label_map if kind == "labels" else to_volume
        wanted[target] = turned(data, _with_source(data, meta))
    return _save(wanted)


def _ended(path: str) -> Path:
    """Return the path, with the usual extension if it has none: napari's file dialog adds none."""
    return Path(path) if Path(path).suffix else Path(f"{path}{WRITABLE[0]}")


def _save(wanted: Mapping[Path, Volume | LabelMap]) -> list[str]:
    """Write files of one folder, all of them or none, after all that can be refused beforehand was looked at."""
    for path, what in wanted.items():
        check_writable_target(path)
        if _needs_table(path, what):
            check_writable_target(table_path(path), extensions=(".tsv",))
    written: list[str] = []
    with together(next(iter(wanted)).parent) as hidden:
        for path, what in wanted.items():
            write(what, hidden / path.name)
            written.append(str(path))
            if isinstance(what, LabelMap) and _needs_table(path, what):
                write_label_table(what.labels, hidden / path.name)
                written.append(str(table_path(path)))
    return written


def _needs_table(path: Path, what: Volume | LabelMap) -> bool:
    """Whether names have to be written; a file in their place that is no table of labels is refused."""
    if not isinstance(what, LabelMap) or not what.labels:
        return False
    there = read_label_table(path) or {}
    # A table that says the same may say more, in columns of its own.
    return any(there.get(value) != label for value, label in what.labels.items())


def _in_a_file_name(name: str) -> str:
    """Return a layer's name as part of a file's name on any system."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "layer"


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
