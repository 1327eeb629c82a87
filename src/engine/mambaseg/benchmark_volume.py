"""What the benchmarks of whole volumes segment: a real FLAIR volume where there is one, else a synthetic head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mambaseg.errors import FileError
from mambaseg.files import read
from mambaseg.synthetic import synthetic_brain
from mambaseg.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA = Path(__file__).parents[3].parent / "shared" / "data"
"""Where real data lies beside a checkout of the project."""
SHAPE = (240, 240, 155)
_FLAIR = ("brats2015/*/flair.nii.gz", "brats2015/imagesTr/*_0000.nii.gz", "imagesTr/*_0000.nii.gz", "*flair*.nii*")
"""A folder of packed or unpacked data sets, one data set, one case."""


def case_volume(data: Path | None = None, shape: Sequence[int] | None = None) -> tuple[Volume, dict[str, Any]]:
    """Return the FLAIR volume of one case and what to say of it.

    Parameters
    ----------
    data
        A folder with brats2015, with imagesTr, or with the files of one case; by default the one beside the checkout.
    shape
        Voxels of a synthetic head with 1 mm; None takes real data if there is any, else the shape of brats2015.

    Raises
    ------
    FileError
        If `data` is given and has no FLAIR volume.
    """
    folder = data or DATA
    file = _flair(folder) if shape is None else None
    if file is not None:
        volume = read(file)
        one = Volume(volume.data[:1], volume.affine, ("flair",))
        return one, _facts(one, file.relative_to(folder).as_posix())
    if data is not None:
        raise FileError(
            f"{data} has no FLAIR volume; give --data a folder with brats2015, with imagesTr/*_0000.nii.gz, or "
            "with one case's *flair*.nii.gz"
        )
    head = synthetic_brain(seed=0, shape=shape or SHAPE, spacing_mm=(1, 1, 1), channels=("flair",)).volume
    return head, _facts(head, "synthetic head, seed 0: no real data is beside this installation")


def tiled_volume(head: Volume, slices: int, dtype: type[np.generic] = np.float32) -> Volume:
    """Return a head of as many slices as asked for: its own, mirrored, its own, ..."""
    depth = head.shape[2]
    there = np.arange(slices) % (2 * depth)
    order = np.minimum(there, 2 * depth - 1 - there)
    return Volume(head.data[..., order].astype(dtype), head.affine, head.channels)


def _flair(folder: Path) -> Path | None:
    return next((file for pattern in _FLAIR for file in sorted(folder.glob(pattern))), None)


def _facts(volume: Volume, source: str) -> dict[str, Any]:
    spacing = [round(float(step), 4) for step in volume.spacing_mm]
    return {"source": source, "shape": list(volume.shape), "spacing_mm": spacing, "dtype": str(volume.data.dtype)}
