"""Open NIfTI and FreeSurfer files as layers. Neither Qt nor torch is loaded for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mambaseg.errors import FileError, VolumeError
from mambaseg.extensions import READABLE, extension_of, stem_of
from mambaseg.files import read, read_labels
from napari_mambaseg._layers import LayerData, image_layers, labels_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Words by which masks are named: BIDS writes _dseg and _mask, nnU-Net's folders say labels, FreeSurfer aseg.
_MASK_WORDS = frozenset({"dseg", "seg", "segmentation", "mask", "label", "labels", "labelmap", "aseg"})


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return `read_layers` if all names end like volumes, else None: the cheap question that napari asks first."""
    return read_layers if all(_is_readable(each) for each in _listed(path)) else None


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Read files as layers: images, one per channel, or a mask as labels.

    A file opens as a mask if its name says so (…_mask, …_seg, …_labels) and it holds whole numbers.

    Raises
    ------
    MambaSegError
        If a file cannot be read; napari shows the sentence.
    """
    return [layer for each in _listed(path) for layer in _read_one(Path(each))]


def _read_one(path: Path) -> list[LayerData]:
    stem = stem_of(path)
    if _MASK_WORDS.intersection(re.split(r"[^a-z0-9]+", stem.lower())):
        try:
            return [labels_layer(read_labels(path), stem, str(path))]
        except VolumeError:
            # Fractions, as in a probability map, or channels: an image, whatever its name says.
            pass
    return image_layers(read(path), path=str(path))


def _listed(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else [str(each) for each in path]


def _is_readable(path: str) -> bool:
    try:
        extension_of(Path(path), READABLE)
    except FileError:
        return False
    return True
