"""Intensities of any scanner on one scale: air at 0, bright tissue at 1.

MRI has no units. Dividing by a mean or a standard deviation makes the result depend on how much air is in the field
of view and on whether the skull was stripped. The distance from air (or from the darkest tissue) to the typical
bright tissue does so far less, and it is left unchanged by any positive linear rescaling, z-scores with negative
values included.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

CORNER = 0.08
"""Share of rows and columns that a corner block takes; heads are round, so the corners show air."""
LEAST_HEAD = 0.02
"""A head fills at least this share of a field of view; less means that the corners did not show air."""


TISSUE = 0.15
"""Normalised intensities above this are tissue rather than noise in air."""


class Normalised(NamedTuple):
    """One channel on the common scale."""

    values: Float[np.ndarray, "z y x"]
    head: Bool[np.ndarray, "z y x"]


def normalise(channel: Float[np.ndarray, "z y x"], clip: float) -> Normalised | None:
    """Return the channel with air at 0 and bright tissue at 1; None if it is constant.

    Bright tissue is the median of what is brighter than the head's mean: where noise passes for head, the mean falls
    between noise and tissue, so that noise does not count.

    Parameters
    ----------
    channel
        Finite intensities in arbitrary units, slices first.
    clip
        Results are bounded by plus and minus this.
    """
    if channel.max() == channel.min():
        return None
    unlike_air, air = split_air(channel)
    inside = channel[unlike_air]
    inside = inside[:: max(1, inside.size // 500_000)]
    # Air is darkest, unless someone set it to a value of his own, such as 0 amid z-scores.
    low = min(air, float(np.percentile(inside, 1)))
    brighter = inside[inside > inside.mean()]
    bright = float(np.median(brighter)) if brighter.size else low
    if bright <= low:  # one value only, as in a mask: any scale does
        low, bright = float(channel.min()), float(channel.max())
    values = np.clip((channel - low) / (bright - low), -clip, clip)
    values = np.where(unlike_air, values, 0).astype(np.float32)
    return Normalised(values, values > TISSUE)


def split_air(channel: Float[np.ndarray, "z y x"]) -> tuple[Bool[np.ndarray, "z y x"], float]:
    """Return True where the channel differs from air by more than air from itself, and the level of air."""
    rows, columns = (max(1, round(CORNER * n)) for n in channel.shape[1:])
    corners = [channel[:, y, x] for y in (np.s_[:rows], np.s_[-rows:]) for x in (np.s_[:columns], np.s_[-columns:])]
    # A corner that was masked or that shows a shoulder is unlike the others: the quietest one is the last resort.
    quietest = min(corners, key=lambda corner: float(np.ptp(corner)))
    for air in (np.concatenate([c.ravel() for c in corners]), quietest.ravel()):
        level = float(np.median(air))
        spread = float(np.percentile(np.abs(air - level), 99))
        unlike = np.abs(channel - level) > spread
        if unlike.mean() >= LEAST_HEAD:
            return unlike, level
    return np.ones(channel.shape, dtype=bool), float(channel.min())


def head_box(head: Bool[np.ndarray, "z y x"], margin: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns that hold the head, with `margin` rows and columns around it."""
    # Single voxels of noise pass the air threshold; a majority of neighbours does not.
    solid = ndimage.uniform_filter(head.astype(np.float32), size=(1, 3, 3)).max(axis=0) > 0.6
    box = []
    for axis, extra in enumerate(margin):
        found = np.flatnonzero(solid.any(axis=1 - axis))
        size = solid.shape[axis]
        start, stop = (int(found[0]), int(found[-1]) + 1) if found.size else (0, size)
        box.append(slice(max(0, start - extra), min(size, stop + extra)))
    return box[0], box[1]
