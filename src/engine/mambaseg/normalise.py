"""Intensities of any scanner on one scale: air at 0, bright tissue at 1.

MRI has no units. Dividing by a mean or a standard deviation makes the result depend on how much air is in the field
of view and on whether the skull was stripped. The distance from air (or from the darkest tissue) to the typical
bright tissue does so far less, and it is left unchanged by any positive linear rescaling, z-scores with negative
values included.

A large volume fills most of a small GPU: all here works in place or in pieces of `PIECE` voxels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

CORNER = 0.08
"""Share of rows and columns that a corner block takes; heads are round, so the corners show air."""
LEAST_HEAD = 0.02
"""A head fills at least this share of a field of view; less means that the corners did not show air."""
TISSUE = 0.15
"""Normalised intensities above this are tissue rather than noise in air."""
SAMPLE = 500_000
"""About as many voxels decide the scale."""
PIECE = 4_000_000


def normalise(channel: Float[Tensor, "z y x"], clip: float) -> Float[Tensor, "z y x"] | None:
    """Put a channel, in place, on the scale with air at 0 and bright tissue at 1; None if it is constant.

    Bright tissue is the median of what is brighter than the head's mean: where noise passes for head, the mean falls
    between noise and tissue, so that noise does not count.

    Parameters
    ----------
    channel
        Finite intensities in arbitrary units, slices first.
    clip
        Results are bounded by plus and minus this.
    """
    lowest, highest = extremes(channel)
    if lowest == highest:
        return None
    unlike_air, air = split_air(channel, lowest)
    inside = _sample(channel, unlike_air)
    # Air is darkest, unless someone set it to a value of his own, such as 0 amid z-scores.
    low = min(air, percentile(inside, 1.0))
    brighter = inside[inside > inside.mean(dtype=torch.float64)]
    bright = percentile(brighter, 50.0) if len(brighter) else low
    if bright <= low:  # one value only, as in a mask: any scale does
        low, bright = lowest, highest
    channel.sub_(low).div_(bright - low).clamp_(-clip, clip)
    return channel.masked_fill_(unlike_air.logical_not_(), 0)


def extremes(channel: Float[Tensor, "z y x"]) -> tuple[float, float]:
    """Return the lowest and the highest value; not finite if any value is not."""
    lowest, highest = torch.stack(torch.aminmax(channel)).tolist()
    return lowest, highest


def split_air(channel: Float[Tensor, "z y x"], lowest: float) -> tuple[Bool[Tensor, "z y x"], float]:
    """Return True where the channel differs from air by more than air from itself, and the level of air."""
    rows, columns = (max(1, round(CORNER * n)) for n in channel.shape[1:])
    corners = [
        channel[:, y, x].flatten() for y in (np.s_[:rows], np.s_[-rows:]) for x in (np.s_[:columns], np.s_[-columns:])
    ]
    unlike = torch.empty(channel.shape, dtype=torch.bool, device=channel.device)
    # A corner that was masked or that shows a shoulder is unlike the others: the quietest one is the last resort.
    for choose in (torch.cat, _quietest):
        air = choose(corners)
        level = percentile(air, 50.0)
        spread = percentile((air - level).abs_(), 99.0)
        for here in _pieces(channel):
            torch.gt((channel[here] - level).abs_(), spread, out=unlike[here])
        if _count(unlike) >= LEAST_HEAD * unlike.numel():
            return unlike, level
    return unlike.fill_(True), lowest


def percentile(values: Float[Tensor, "n"], share: float) -> float:
    """Return a percentile, interpolated linearly between the two nearest values, as NumPy does."""
    if not values.is_cuda:
        return float(np.percentile(values.numpy(), share))
    place = (len(values) - 1) * share / 100
    # Sorting keeps all of a GPU busy; what finds a single rank there does not.
    pair = values.sort().values[int(place) : int(place) + 2].tolist()
    return float(pair[0] + (pair[-1] - pair[0]) * (place % 1))


def head_box(head: Bool[Tensor, "z y x"], margin: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns that hold the head, with `margin` rows and columns around it."""
    solid = torch.zeros(head.shape[1:], dtype=torch.bool, device=head.device)
    for here in _pieces(head):
        # Single voxels of noise pass the air threshold; a majority of neighbours does not.
        solid |= _three(_three(head[here].byte(), 1), 2).amax(dim=0) > 5
    box = []
    for axis, extra in enumerate(margin):
        found = np.flatnonzero(solid.any(dim=1 - axis).cpu().numpy())
        size = solid.shape[axis]
        start, stop = (int(found[0]), int(found[-1]) + 1) if found.size else (0, size)
        box.append(slice(max(0, start - extra), min(size, stop + extra)))
    return box[0], box[1]


def _three(values: Tensor, dim: int) -> Tensor:
    """Add each value's two neighbours along an axis to it; at the border it is its own neighbour."""
    size = values.shape[dim]
    wide = torch.cat([values.narrow(dim, 0, 1), values, values.narrow(dim, size - 1, 1)], dim)
    return wide.narrow(dim, 0, size) + wide.narrow(dim, 1, size) + wide.narrow(dim, 2, size)


def _sample(channel: Tensor, inside: Tensor) -> Tensor:
    """Return every n-th of the voxels inside, `SAMPLE` to twice as many if there are so many."""
    step = max(1, _count(inside) // SAMPLE)
    taken, skip = [], 0
    for here in _pieces(channel):
        places = inside[here].flatten().nonzero()[:, 0]
        taken.append(channel[here].flatten()[places[skip::step]])
        skip = (skip - len(places)) % step
    return torch.cat(taken)


def _pieces(channel: Tensor) -> Iterator[slice]:
    """Cut into pieces of whole slices."""
    many = max(1, PIECE // max(1, channel[0].numel()))
    return (slice(start, start + many) for start in range(0, len(channel), many))


def _count(where: Tensor) -> int:
    return int(where.count_nonzero())


def _quietest(corners: list[Tensor]) -> Tensor:
    return min(corners, key=lambda corner: float(corner.max() - corner.min()))
