"""Volume -> what the network sees, and the recorded way back to the patient's own grid. Pure functions.

The network sees axial slices in radiological order, arrays of (slice, row, column) = (S, P, L). A volume in any
other order is permuted and flipped along its nearest axes; an oblique one is not resampled. Slices whose pixels
are far from the size the network was trained at are resampled in plane, and only the logits come back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Num
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from scipy import ndimage

from mambaseg.errors import VolumeError
from mambaseg.normalise import head_box, normalise
from mambaseg.volume import spacing_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mambaseg.card import Channel
    from mambaseg.config import PrepareConfig
    from mambaseg.volume import Volume

_LPS = ((0, 1), (1, 1), (2, 1))
"""The order that the network sees, relative to itself: nothing permuted, nothing flipped."""


@dataclass(frozen=True, slots=True)
class Undo:
    """The way back from the network's slices to the volume's own grid."""

    shape: tuple[int, int, int]
    """The volume's (i, j, k)."""
    orientation: tuple[tuple[int, int], ...]
    """nibabel's orientation transform from (i, j, k) to (L, P, S)."""
    rows: slice
    columns: slice
    """Where the crop lies in the reoriented slice."""

    @property
    def plane(self) -> tuple[int, int]:
        """Rows and columns of the crop, in the volume's own pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def restore(self, slices: Num[np.ndarray, "z y x"]) -> Num[np.ndarray, "i j k"]:
        """Put cropped slices back on the volume's own grid; outside the crop is 0."""
        columns_first = np.zeros(self._oriented_shape, dtype=slices.dtype)
        columns_first[self.columns, self.rows] = slices.transpose(2, 1, 0)
        back = ornt_transform(_ornt(_LPS), _ornt(self.orientation))
        return np.ascontiguousarray(apply_orientation(columns_first, back))

    def slice_position(self, index: int) -> int:
        """Return where the volume's slice `index`, counted along its own axial axis, lies among the slices.

        Raises
        ------
        VolumeError
            If there is no such slice.
        """
        depth = self._oriented_shape[2]
        if not 0 <= index < depth:
            raise VolumeError(f"slice {index} does not exist; this volume has axial slices 0 to {depth - 1}")
        flipped = next(flip for axis, flip in self.orientation if axis == 2) < 0
        return depth - 1 - index if flipped else index

    @property
    def _oriented_shape(self) -> tuple[int, int, int]:
        size = dict(zip((axis for axis, _ in self.orientation), self.shape, strict=True))
        return size[0], size[1], size[2]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A volume as the network sees it."""

    slices: Float[np.ndarray, "channel z y x"]
    """Normalised; a missing channel is 0."""
    present: Float[np.ndarray, "channel"]
    """1 where the channel exists, else 0."""
    step: int
    """Slices between one slice and what counts as its neighbour."""
    undo: Undo
    warnings: tuple[str, ...]


def prepare(volume: Volume, channels: Sequence[Channel], config: PrepareConfig, crop: bool = True) -> Prepared:
    """Reorient, check, normalise and crop.

    Parameters
    ----------
    volume
        With channels under the names of `channels`; optional ones may be absent.
    channels
        What the network was trained on, in its order.
    config
        The settings it was trained with.
    crop
        False keeps whole slices (training).

    Raises
    ------
    VolumeError
        If a required channel is absent, constant, or more than half of it is not a number.
    """
    warnings = list(volume.warnings)
    orientation = _to_lps(volume.affine)
    found = {}
    for channel in channels:
        array = _finite(volume, channel, warnings)
        if array is None:
            continue
        oriented = apply_orientation(array, _ornt(orientation)).transpose(2, 1, 0)
        result = normalise(np.ascontiguousarray(oriented, dtype=np.float32), config.clip)
        if result is None:
            _refuse_constant(channel, array, warnings)
            continue
        found[channel.name] = result
    if not found:
        raise VolumeError(f"no channel can be used; the volume has {', '.join(volume.channels)}, all of them constant")
    first = next(iter(found.values()))
    across = _oriented_spacing(volume.affine, orientation)  # x, y, z
    margin = round(config.margin_mm / across[1]), round(config.margin_mm / across[0])
    rows, columns = np.s_[0 : first.head.shape[1]], np.s_[0 : first.head.shape[2]]
    if crop:
        rows, columns = head_box(first.head, margin)
    slices = np.stack([
        found[c.name].values[:, rows, columns] if c.name in found else np.zeros_like(first.values[:, rows, columns])
        for c in channels
    ])
    return Prepared(
        slices=_resample(slices, across[:2], config),
        present=np.array([c.name in found for c in channels], dtype=np.float32),
        step=max(1, round(config.neighbour_mm / across[2])),
        undo=Undo(volume.shape, orientation, rows, columns),
        warnings=tuple(warnings),
    )


def prepare_labels(data: Num[np.ndarray, "i j k"], prepared: Prepared) -> Num[np.ndarray, "z row column"]:
    """Bring a label array of the same grid into the order and size of the network's slices, nearest neighbour."""
    undo = prepared.undo
    oriented = apply_orientation(data, _ornt(undo.orientation)).transpose(2, 1, 0)
    cropped = np.ascontiguousarray(oriented[:, undo.rows, undo.columns])
    zoom = [now / before for now, before in zip(prepared.slices.shape[2:], undo.plane, strict=True)]
    return ndimage.zoom(cropped, (1, *zoom), order=0, grid_mode=True, mode="nearest") if zoom != [1, 1] else cropped


def axial_axis(affine: Float[np.ndarray, "4 4"]) -> int:
    """Return which of i, j, k runs nearest to the patient's long axis."""
    return next(i for i, (axis, _) in enumerate(_to_lps(affine)) if axis == 2)


def _finite(volume: Volume, channel: Channel, warnings: list[str]) -> np.ndarray | None:
    """Return a channel without NaN or infinite values; None if it is absent and optional."""
    if channel.name not in volume.channels:
        if channel.required:
            raise VolumeError(
                f"the channel {channel.name!r} is missing: the volume has {', '.join(volume.channels)}; this model "
                f"needs {channel.name!r}"
            )
        warnings.append(f"{channel.name} was not given; the model works without it, less accurately")
        return None
    array = volume.channel(channel.name)
    if not np.issubdtype(array.dtype, np.floating):
        return array
    bad = ~np.isfinite(array)
    share = float(bad.mean())
    if share > 0.5:
        raise VolumeError(
            f"{share:.0%} of the voxels of {channel.name} are NaN or infinite; at most half may be: export the "
            "volume again"
        )
    if share > 0:
        warnings.append(f"{int(bad.sum())} voxels of {channel.name} are NaN or infinite; they count as background")
        array = np.where(bad, array[~bad].min(), array)
    return array


def _refuse_constant(channel: Channel, array: np.ndarray, warnings: list[str]) -> None:
    """Refuse a required channel without contrast; note an optional one as missing."""
    value = f"{float(array.flat[0]):g}"
    if channel.required:
        raise VolumeError(
            f"every voxel of {channel.name} is {value}; a required channel needs contrast: check that the right "
            "file was given"
        )
    warnings.append(f"every voxel of {channel.name} is {value}; it counts as missing")


def _resample(
    slices: Float[np.ndarray, "channel z y x"], spacing: tuple[float, float], config: PrepareConfig
) -> Float[np.ndarray, "channel z row column"]:
    """Bring pixels that are far from the trained size to it, in plane, linearly."""
    factors = [s / config.spacing_mm for s in (spacing[1], spacing[0])]  # rows, columns
    factors = [1.0 if 1 / config.keep_within <= f <= config.keep_within else f for f in factors]
    if factors == [1.0, 1.0]:
        return np.ascontiguousarray(slices)
    zoom = [max(f, 1 / n) for f, n in zip(factors, slices.shape[2:], strict=True)]
    return np.stack([
        ndimage.zoom(_anti_alias(c, zoom), (1, *zoom), order=1, grid_mode=True, mode="nearest") for c in slices
    ])


def _anti_alias(slices: Float[np.ndarray, "z y x"], zoom: list[float]) -> Float[np.ndarray, "z y x"]:
    """Smooth before shrinking, or fine structure would turn into noise."""
    sigma = [max(0.0, (1 / factor - 1) / 2) for factor in zoom]
    return ndimage.gaussian_filter(slices, (0, *sigma)) if any(sigma) else slices


def _to_lps(affine: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return the orientation transform to the nearest L, P, S axes."""
    wanted = axcodes2ornt(("L", "P", "S"))
    transform = ornt_transform(io_orientation(affine), wanted)
    return tuple((int(axis), int(flip)) for axis, flip in transform)


def _ornt(orientation: Sequence[tuple[int, int]]) -> np.ndarray:
    return np.array(orientation, dtype=float)


def _oriented_spacing(affine: np.ndarray, orientation: tuple[tuple[int, int], ...]) -> tuple[float, float, float]:
    """Voxel size in mm along columns, rows and slices."""
    size = dict(zip((axis for axis, _ in orientation), spacing_of(affine), strict=True))
    return size[0], size[1], size[2]
