"""Open NIfTI and FreeSurfer files as layers. Neither Qt nor torch is loaded for it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from mambaseg.errors import FileError, VolumeError
from mambaseg.extensions import READABLE, extension_of, stem_of
from mambaseg.files import read, read_labels
from mambaseg.label_table import read_label_table
from napari_mambaseg._grid import degrees_oblique
from napari_mambaseg._layers import LayerData, image_layers, labels_layer
from napari_mambaseg._place import STRAIGHT_DEGREES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from jaxtyping import Float

    from mambaseg.volume import Label

# Words by which masks are named: BIDS writes _dseg and _mask, nnU-Net's folders say labels, FreeSurfer aseg.
_MASK_WORDS = frozenset({"dseg", "seg", "segmentation", "mask", "label", "labels", "labelmap", "aseg"})


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return `read_layers` if all names end like volumes, else None: the cheap question that napari asks first."""
    return read_layers if all(_is_readable(each) for each in _listed(path)) else None


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Read files as layers: images, one per channel, or a mask as labels.

    A file opens as a mask if it holds whole numbers and its name says so (…_mask, …_seg, …_labels) or a table of
    labels lies beside it, as our writer leaves one (`mambaseg.label_table`).

    Raises
    ------
    MambaSegError
        If a file cannot be read; napari shows the sentence.
    """
    return [layer for each in _listed(path) for layer in _read_one(Path(each))]


def _read_one(path: Path) -> list[LayerData]:
    stem = stem_of(path)
    named = _named_labels(path)
    if named is not None or _MASK_WORDS.intersection(re.split(r"[^a-z0-9]+", stem.lower())):
        try:
            mask = read_labels(path)
        except VolumeError:
            # Fractions, as in a probability map, or channels: an image, whatever its name says.
            pass
        else:
            _tell_if_oblique(path, mask.affine)
            return [labels_layer(replace(mask, labels=MappingProxyType(named or {})), stem, str(path))]
    volume = read(path)
    _tell_if_oblique(path, volume.affine)
    return image_layers(volume, path=str(path))


def _named_labels(path: Path) -> dict[int, Label] | None:
    """Read the table of labels beside a file; one that is damaged keeps no mask from opening."""
    try:
        return read_label_table(path)
    except FileError as error:
        from napari.utils.notifications import show_warning  # Only here: readers must not pay for it.

        show_warning(f"{error}. {path.name} was opened without it.")
        return None


def _tell_if_oblique(path: Path, affine: Float[np.ndarray, "4 4"]) -> None:
    angle = degrees_oblique(affine)
    if angle > STRAIGHT_DEGREES:
        from napari.utils.notifications import show_info  # Only here: readers must not pay for it.

        show_info(
            f"{path.name} is oblique ({angle:.2g}° from the body's axes): it is shown straight, and saved exactly as "
            "it was."
        )


def _listed(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else [str(each) for each in path]


def _is_readable(path: str) -> bool:
    try:
        extension_of(Path(path), READABLE)
    except FileError:
        return False
    return True
