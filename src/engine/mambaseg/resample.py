"""Slices at another pixel size, linearly, in plane; as SciPy's `gaussian_filter` and `zoom` do it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

PIECE = 4_000_000
"""About as many pixels are smoothed at once."""


def resample(slices: Float[Tensor, "z y x"], factors: tuple[float, float]) -> Float[Tensor, "z row column"]:
    """Return slices with `factors` times as many rows and columns."""
    if factors == (1.0, 1.0):
        return slices
    zoom = [max(factor, 1 / n) for factor, n in zip(factors, slices.shape[1:], strict=True)]
    size = [round(n * factor) for factor, n in zip(zoom, slices.shape[1:], strict=True)]
    result = slices.new_empty(len(slices), *size)
    many = max(1, PIECE // max(slices[0].numel(), result[0].numel()))
    for start in range(0, len(slices), many):
        here = slice(start, start + many)
        smooth = _anti_alias(slices[here, None], zoom)
        result[here] = F.interpolate(smooth, size=size, mode="bilinear", align_corners=False)[:, 0]
    return result


def _anti_alias(slices: Float[Tensor, "z 1 y x"], zoom: list[float]) -> Float[Tensor, "z 1 y x"]:
    """Smooth before shrinking, or fine structure would turn into noise."""
    for dim, factor in zip((2, 3), zoom, strict=True):
        if factor < 1:
            slices = _gauss(slices, (1 / factor - 1) / 2, dim)
    return slices


def _gauss(slices: Float[Tensor, "z 1 y x"], sigma: float, dim: int) -> Float[Tensor, "z 1 y x"]:
    """Smooth along one axis; the border is a mirror that shows the last pixel twice."""
    radius, size = int(4 * sigma + 0.5), slices.shape[dim]
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    weights = (weights / weights.sum()).to(slices)
    turn = torch.arange(-radius, size + radius, device=slices.device) % (2 * size)
    mirrored = slices.index_select(dim, torch.minimum(turn, 2 * size - 1 - turn))
    return F.conv2d(mirrored, weights.view((1, 1, -1, 1) if dim == 2 else (1, 1, 1, -1)))
