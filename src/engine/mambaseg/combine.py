"""Several files of one patient on one grid: the first one's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from mambaseg.errors import VolumeError
from mambaseg.volume import Volume, same_grid

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_OVERLAP = 0.05
"""Share of the first grid that another volume must cover; less is another patient or another part of the body."""


def combine(volumes: Mapping[str, Volume]) -> Volume:
    """Join single-channel volumes under the names they are given by; others are resampled onto the first's grid.

    Raises
    ------
    VolumeError
        If a volume has several channels, or does not overlap with the first one.
    """
    warnings: list[str] = []
    names = tuple(volumes)
    first = volumes[names[0]]
    arrays = []
    for name, volume in volumes.items():
        if len(volume.channels) != 1:
            raise VolumeError(
                f"the file for {name} holds {len(volume.channels)} channels; give one channel per file, or one 4-D file"
            )
        warnings += [w for w in volume.warnings if w not in warnings]
        if same_grid(first, volume):
            arrays.append(volume.data[0])
            continue
        arrays.append(_onto(first, volume, name))
        warnings.append(
            f"{name} lies on another grid ({_size(volume)}); it was resampled onto that of {names[0]} ({_size(first)})"
        )
    dtype = np.result_type(*arrays)
    data = np.stack([array.astype(dtype, copy=False) for array in arrays])
    return Volume(data, first.affine, names, first.stored, tuple(warnings))


def _onto(first: Volume, volume: Volume, name: str) -> np.ndarray:
    """Resample linearly onto the first grid; outside is the volume's own minimum, which is air."""
    to_other = np.linalg.inv(volume.affine) @ first.affine
    corner, shape = np.zeros(3), np.array(volume.shape)
    # Sampled on every fourth voxel: enough to tell a shifted slab from another patient.
    grid = np.stack(np.meshgrid(*(np.arange(0, n, 4) for n in first.shape), indexing="ij"), axis=-1)
    inside = grid @ to_other[:3, :3].T + to_other[:3, 3]
    share = float(((inside >= corner) & (inside <= shape - 1)).all(axis=-1).mean())
    if share < LEAST_OVERLAP:
        raise VolumeError(
            f"{name} covers {share:.0%} of the first volume's space; the files must show the same part of the same "
            "patient: check them, or register them first"
        )
    data = volume.data[0].astype(np.float32)
    finite = data[np.isfinite(data)]
    outside = float(finite.min()) if finite.size else 0.0
    resampled: np.ndarray = ndimage.affine_transform(
        data, to_other[:3, :3], to_other[:3, 3], output_shape=first.shape, order=1, mode="constant", cval=outside
    )
    return resampled


def _size(volume: Volume) -> str:
    spacing = " × ".join(f"{s:.3g}" for s in volume.spacing_mm)
    return f"{' × '.join(map(str, volume.shape))}, {spacing} mm"
