"""Tokens cut into chunks, decays inside a chunk, and the carry from chunk to chunk: what `chunked` is made of.

Shapes: b batch, h heads, c chunks, q steps of a chunk, n state, p dim. Decays are kept as their log2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

GROUP = 16
"""Chunks carried together by one matrix product; twice as many where that makes one group of all."""
_BITS = 1 / math.log(2)
"""Of a natural logarithm. torch.exp2 takes half the time of torch.exp on a CPU, and far less where it underflows."""


class Way(NamedTuple):
    """One direction through the tokens."""

    dt: Tensor
    """b h c q."""
    log: Tensor
    """b h c q: the decay from where the way enters the chunk to behind each step."""
    backwards: bool

    def since(self) -> Tensor:
        """Return how much of the state that enters a chunk is left at each step [b h c q 1]."""
        return self.log.exp2().unsqueeze(-1)

    def until(self) -> Tensor:
        """Return how much of each step's gain is left where the way leaves the chunk [b h c q 1]."""
        return (_end(self.log, self.backwards) - self.log).exp2_().unsqueeze(-1)

    def through(self) -> Tensor:
        """Return the decay through each chunk, still as its log2 [bh c]."""
        return _end(self.log, self.backwards).flatten(0, 1).squeeze(-1).clamp(min=lowest(self.log) * _BITS)

    def carry(self, gains: Tensor, adjoint: bool = False) -> Tensor:
        """Return the state that enters each chunk [bhc n p] from what each adds; against the way for adjoints."""
        through = self.through()
        states = _carry(gains.view(*through.shape, -1), through, self.backwards != adjoint)
        return states.reshape(gains.shape)


class Chunks(NamedTuple):
    """What the scan reads, every head's tokens together, padded to whole chunks with steps of dt = 0."""

    x: Tensor
    """bhc q p."""
    B: Tensor
    """b 1 c q n."""
    C: Tensor
    """b 1 c q n."""
    ways: tuple[Way, ...]

    def ports(self, way: Way) -> tuple[Tensor, Tensor]:
        """Return how steps enter the state that leaves a chunk, and how they read the one that enters [bhc q n]."""
        weight = way.until().mul_(way.dt.unsqueeze(-1))
        return (self.B * weight).flatten(0, 2), (self.C * way.since()).flatten(0, 2)


def cut(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backwards: tuple[bool, ...], size: int) -> Chunks:
    """Cut tokens as `scan_chunked` takes them into chunks of `size` steps."""
    batch, length, heads, _ = x.shape
    count = -(-length // size)
    dt = _padded(dt.permute(2, 0, 3, 1), -1, size).view(-1, batch, heads, count, size)
    rate = (dt * (A.transpose(0, 1) * _BITS)[..., None, None]).clamp_(min=lowest(dt) * _BITS)
    ways = zip(dt.unbind(), rate.unbind(), backwards, strict=True)
    B, C = (_padded(tensor, 1, size).view(batch, 1, count, size, -1) for tensor in (B, C))
    return Chunks(by_head(x, size), B, C, tuple(Way(step, cumulated(log, back), back) for step, log, back in ways))


def by_head(x: Tensor, size: int) -> Tensor:
    """Return tokens [b l h p] as [bhc q p], every chunk of a head a dense matrix."""
    return _padded(x.transpose(1, 2), 2, size).view(-1, size, x.shape[-1])


def lowest(like: Tensor) -> float:
    """Return the log of a decay that is as good as 0. Sums over a chunk keep their digits if no step is below it."""
    return -40.0 if like.dtype == torch.float64 else -16.0


def cumulated(tensor: Tensor, backwards: bool) -> Tensor:
    """Sum over the last axis up to each step, that step's included, in the order of a way."""
    return tensor.flip(-1).cumsum(-1).flip(-1) if backwards else tensor.cumsum(-1)


def triangle_(matrix: Tensor, backwards: bool, strict: bool = False) -> Tensor:
    """Set to 0 in place where no way leads from step j to step i [... i j]; `strict`: from a step to itself, too."""
    return matrix.triu_(int(strict)) if backwards else matrix.tril_(-int(strict))


def inside(ways: tuple[Way, ...]) -> tuple[Tensor, Tensor]:
    """Return for steps j and i of a chunk what is left at i of j's gain, and dt_j, 0 where no way leads there.

    Two ways fill two triangles [b h c i j]. Differences are masked before exp2: inf * 0 would be NaN.
    """
    decay, dt = _differences(ways[0].log), ways[0].dt.unsqueeze(-2)
    if len(ways) == 1:
        weight = triangle_(dt.expand_as(decay).clone(memory_format=torch.contiguous_format), ways[0].backwards)
        return triangle_(decay, ways[0].backwards).exp2_(), weight
    other = _differences(ways[1].log)
    first = triangle_(torch.ones_like(decay[0, 0, 0]), ways[0].backwards)
    torch.lerp(other, decay, first, out=decay).exp2_()
    weight = torch.lerp(ways[1].dt.unsqueeze(-2), dt, first, out=other)
    weight.diagonal(dim1=-2, dim2=-1).add_(ways[1].dt)  # A step sees itself in both ways.
    return decay, weight


def _differences(log: Tensor) -> Tensor:
    return log[..., :, None] - log[..., None, :]


def _carry(gains: Tensor, log: Tensor, backwards: bool) -> Tensor:
    """Return the state that enters each chunk [z c m] from what each adds and its decay [z c]."""
    items, count, size = gains.shape
    group = count if count <= 2 * GROUP else GROUP
    gains, log = _padded(gains, 1, group).view(-1, group, size), _padded(log, 1, group).view(-1, group)
    total = cumulated(log, backwards)
    before = total - log
    decay = triangle_(before[:, :, None] - total[:, None, :], backwards, strict=True).exp2_()
    states = torch.bmm(triangle_(decay, backwards, strict=True), gains)
    if group < count:
        end = _end(total, backwards)
        added = torch.bmm((end - total).exp2_().unsqueeze(1), gains).view(items, -1, size)
        start = _carry(added, end.view(items, -1).clamp(min=lowest(log) * _BITS), backwards)
        states.baddbmm_(before.exp2_().unsqueeze(2), start.reshape(-1, 1, size))
    return states.view(items, -1, size)[:, :count]


def _end(log: Tensor, backwards: bool) -> Tensor:
    """Return the last step of a way, as an axis of 1."""
    return log[..., :1] if backwards else log[..., -1:]


def _padded(tensor: Tensor, axis: int, size: int) -> Tensor:
    """Return a dense tensor with zeros behind an axis, so that `size` divides it."""
    pad = -tensor.shape[axis] % size
    if not pad:
        return tensor.contiguous()
    behind = tensor.ndim - 1 - axis % tensor.ndim
    return F.pad(tensor, (0, 0) * behind + (0, pad))
