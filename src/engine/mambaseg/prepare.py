"""Volume -> what the network sees, and the recorded way back to the patient's own grid. Pure functions.

The network sees axial slices in radiological order, arrays of (slice, row, column) = (S, P, L). A volume in any
other order is permuted and flipped along its nearest axes; an oblique one is not resampled. Slices whose pixels
are far from the size the network was trained at are resampled in plane, and only the logits come back.

All runs on the device that is asked for. A channel travels there as it is stored and becomes float32 there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from mambaseg.errors import VolumeError
from mambaseg.normalise import TISSUE, extremes, head_box, normalise
from mambaseg.orientation import Orientation, orientation_of
from mambaseg.resample import resample
from mambaseg.transfer import to_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mambaseg.card import Channel
    from mambaseg.config import PrepareConfig
    from mambaseg.volume import Volume

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Undo:
    """The way back from the network's slices to the volume's own grid."""

    shape: tuple[int, int, int]
    """The volume's (i, j, k)."""
    orientation: Orientation
    rows: slice
    columns: slice
    """Where the crop lies in the reoriented slice."""

    @property
    def plane(self) -> tuple[int, int]:
        """Rows and columns of the crop, in the volume's own pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def restore(self, maps: Num[Tensor, "*maps z y x"]) -> Num[Tensor, "*maps i j k"]:
        """Put cropped slices back on the volume's own grid; outside the crop is 0."""
        axes, flipped = self.orientation.axes, self.orientation.flipped
        whole = maps.new_zeros(*maps.shape[:-3], *self.shape)
        box = [slice(0, self.shape[axes[0]]), self.rows, self.columns]
        for dim in flipped:  # A tensor cannot be written the other way round: what is written is, and its place.
            size = self.shape[axes[dim]]
            box[dim] = slice(size - box[dim].stop, size - box[dim].start)
        for one, target in zip(maps.reshape(-1, *maps.shape[-3:]), whole.view(-1, *self.shape), strict=True):
            target.permute(axes)[tuple(box)] = one.flip(flipped) if flipped else one
        return whole

    def slice_position(self, index: int) -> int:
        """Return where the volume's slice `index`, counted along its own axial axis, lies among the slices.

        Raises
        ------
        VolumeError
            If there is no such slice.
        """
        depth = self.orientation.sort(self.shape)[0]
        if not 0 <= index < depth:
            raise VolumeError(f"slice {index} does not exist; this volume has axial slices 0 to {depth - 1}")
        return depth - 1 - index if 0 in self.orientation.flipped else index


@dataclass(frozen=True, eq=False)
class Prepared:
    """A volume as the network sees it."""

    slices: Float[Tensor, "given z y x"]
    """Normalised; only the channels that exist."""
    present: Float[Tensor, "channel"]
    """1 where the channel exists, else 0; on the CPU."""
    step: int
    """Slices between one slice and what counts as its neighbour."""
    undo: Undo
    warnings: tuple[str, ...]

    @property
    def given(self) -> tuple[int, ...]:
        """Which of the network's channels `slices` holds."""
        return tuple(self.present.nonzero().flatten().tolist())


def prepare(
    volume: Volume, channels: Sequence[Channel], config: PrepareConfig, crop: bool = True, device: torch.device = CPU
) -> Prepared:
    """Reorient, check, normalise and crop.

    Parameters
    ----------
    volume
        With channels under the names of `channels`; optional ones may be absent. It is left as it is.
    channels
        What the network was trained on, in its order.
    config
        The settings it was trained with.
    crop
        False keeps whole slices (training).
    device
        Where to do it, and where the slices stay.

    Raises
    ------
    VolumeError
        If a required channel is absent, constant, or more than half of it is not a number.
    """
    warnings = list(volume.warnings)
    orientation = orientation_of(volume.affine)
    between, *pixel = orientation.sort(volume.spacing_mm)
    factors = _factors(pixel, config)
    kept: list[Tensor] = []
    present, box = [], None
    for channel in channels:
        values = _on_scale(volume, channel, orientation, config.clip, device, warnings)
        present.append(0.0 if values is None else 1.0)
        if values is None:
            continue
        box = box or _box(values, pixel, config.margin_mm if crop else None)
        kept.append(resample(values[:, box[0], box[1]], factors).contiguous())
        del values  # The next channel needs the room.
    if box is None:
        raise VolumeError(f"no channel can be used; the volume has {', '.join(volume.channels)}, all of them constant")
    return Prepared(
        slices=_join(kept),
        present=torch.tensor(present),
        step=max(1, round(config.neighbour_mm / between)),
        undo=Undo(volume.shape, orientation, *box),
        warnings=tuple(warnings),
    )


def prepare_labels(data: Num[np.ndarray, "i j k"], prepared: Prepared) -> Num[np.ndarray, "z row column"]:
    """Bring a label array of the same grid into the order and size of the network's slices, nearest neighbour."""
    undo = prepared.undo
    oriented = np.flip(data.transpose(undo.orientation.axes), undo.orientation.flipped)
    cropped = np.ascontiguousarray(oriented[:, undo.rows, undo.columns])
    zoom = [now / before for now, before in zip(prepared.slices.shape[2:], undo.plane, strict=True)]
    if zoom == [1, 1]:
        return cropped
    from scipy import ndimage  # Only here: segmenting, which starts in a process of its own, needs no SciPy.

    zoomed: np.ndarray = ndimage.zoom(cropped, (1, *zoom), order=0, grid_mode=True, mode="nearest")
    return zoomed


def _on_scale(
    volume: Volume,
    channel: Channel,
    orientation: Orientation,
    clip: float,
    device: torch.device,
    warnings: list[str],
) -> Tensor | None:
    """Return a channel, sorted and normalised; None if it is optional and absent or without contrast."""
    if channel.name not in volume.channels:
        if channel.required:
            raise VolumeError(
                f"the channel {channel.name!r} is missing: the volume has {', '.join(volume.channels)}; this model "
                f"needs {channel.name!r}"
            )
        warnings.append(f"{channel.name} was not given; the model works without it, less accurately")
        return None
    values = _sorted(to_device(volume.channel(channel.name), device), orientation)
    _make_finite(values, channel.name, warnings)
    found = normalise(values, clip)
    if found is None:
        _refuse_constant(channel, float(values[0, 0, 0]), warnings)
    return found


def _sorted(stored: Num[Tensor, "i j k"] | Bool[Tensor, "i j k"], orientation: Orientation) -> Float[Tensor, "z y x"]:
    """Return a copy in the network's order, as float32."""
    turned, flipped = stored.permute(orientation.axes), orientation.flipped
    if flipped:
        turned = turned.contiguous().flip(flipped)  # in its own type, which is often smaller
    return turned.to(torch.float32, copy=not flipped, memory_format=torch.contiguous_format)


def _make_finite(values: Float[Tensor, "z y x"], name: str, warnings: list[str]) -> None:
    """Put the lowest finite value, in place, where there is none."""
    if all(map(math.isfinite, extremes(values))):
        return
    bad = values.isfinite().logical_not_()
    count = int(bad.count_nonzero())
    share = count / bad.numel()
    if share > 0.5:
        raise VolumeError(
            f"{share:.0%} of the voxels of {name} are NaN or infinite; at most half may be: export the volume again"
        )
    warnings.append(f"{count} voxels of {name} are NaN or infinite; they count as background")
    values.masked_fill_(bad, math.inf)
    values.masked_fill_(bad, float(values.min()))


def _refuse_constant(channel: Channel, value: float, warnings: list[str]) -> None:
    """Refuse a required channel without contrast; note an optional one as missing."""
    if channel.required:
        raise VolumeError(
            f"every voxel of {channel.name} is {value:g}; a required channel needs contrast: check that the right "
            "file was given"
        )
    warnings.append(f"every voxel of {channel.name} is {value:g}; it counts as missing")


def _box(values: Float[Tensor, "z y x"], pixel: Sequence[float], margin_mm: float | None) -> tuple[slice, slice]:
    """Return the rows and columns to keep: all without a margin, else the head with it around."""
    if margin_mm is None:
        return slice(0, values.shape[1]), slice(0, values.shape[2])
    return head_box(values > TISSUE, (round(margin_mm / pixel[0]), round(margin_mm / pixel[1])))


def _factors(pixel: Sequence[float], config: PrepareConfig) -> tuple[float, float]:
    """Return by how much rows and columns become more; 1 where pixels are near the trained size."""
    rows, columns = (size / config.spacing_mm for size in pixel)
    least, most = 1 / config.keep_within, config.keep_within
    return 1.0 if least <= rows <= most else rows, 1.0 if least <= columns <= most else columns


def _join(kept: list[Tensor]) -> Float[Tensor, "given z y x"]:
    """Stack channels and let go of each: a large volume fills most of a small GPU. One alone is not copied."""
    if len(kept) == 1:
        return kept.pop()[None]
    whole = kept[0].new_empty(len(kept), *kept[0].shape)
    while kept:
        last = kept.pop()
        whole[len(kept)] = last
    return whole
