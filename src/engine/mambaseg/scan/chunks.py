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
    rate: Tensor
    """b h c q: the decay of each step."""
    log: Tensor
    """b h c q: the decay from where the way enters the chunk to behind each step, the sum of rates."""
    rest: Tensor
    """b h c q: what `log` lost to rounding: a slow step among fast ones is a small difference of large sums."""
    lost: Tensor
    """b h c q: two to the power of -rest."""
    backwards: bool

    @classmethod
    def of(cls, dt: Tensor, rate: Tensor, backwards: bool) -> Way:
        """Sum up the rates."""
        log = cumulated(rate, backwards)
        rest = cumulated(rate - (log - behind(log, backwards)), backwards)
        return cls(dt, rate, log, rest, torch.exp2(-rest), backwards)

    def between(self) -> Tensor:
        """Return the log of the decay from behind step j to behind step i [b h c i j], but for `lost` of step j."""
        return (self.log[..., :, None] - self.log[..., None, :]).add_(self.rest[..., :, None])

    def weight(self) -> Tensor:
        """Return dt, with what `between` leaves out [b h c 1 j]."""
        return (self.dt * self.lost).unsqueeze(-2)

    def since(self) -> Tensor:
        """Return how much of the state that enters a chunk is left at each step [b h c q 1]."""
        return decay_(self.log.clone()).unsqueeze(-1)

    def until(self) -> Tensor:
        """Return how much of each step's gain is left where the way leaves the chunk [b h c q 1]."""
        log, rest = (_end(part, self.backwards) - part for part in (self.log, self.rest))
        return decay_(log.add_(rest)).unsqueeze(-1)

    def through(self) -> Tensor:
        """Return the log of the decay through each chunk [bh c]."""
        return _at_least(_end(self.log, self.backwards).flatten(0, 1).squeeze(-1))

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

    @classmethod
    def cut(
        cls, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backwards: tuple[bool, ...], size: int
    ) -> Chunks:
        """Cut tokens as `scan_chunked` takes them into chunks of `size` steps."""
        batch, length, heads, _ = x.shape
        count = -(-length // size)
        dt = _padded(dt.permute(2, 0, 3, 1), -1, size).view(-1, batch, heads, count, size)
        rate = (dt * (A.transpose(0, 1) * _BITS)[..., None, None]).clamp_(min=-limit(dt))
        ways = zip(dt.unbind(), rate.unbind(), backwards, strict=True)
        B, C = (_padded(tensor, 1, size).view(batch, 1, count, size, -1) for tensor in (B, C))
        return cls(by_head(x, size), B, C, tuple(Way.of(*way) for way in ways))

    def pairs(self) -> Tensor:
        """Return how step i reads what step j wrote, before any decay [b 1 c i j]."""
        return self.masked_(self.C @ self.B.transpose(-1, -2))

    def masked_(self, pairs: Tensor) -> Tensor:
        """Set to 0 in place where no way leads from step j to step i [... i j]."""
        return pairs if len(self.ways) == 2 else triangle_(pairs, self.ways[0].backwards)

    def inside(self) -> tuple[Tensor, Tensor]:
        """Return what is left at step i of step j's gain, and its weight [b h c i j], for pairs that are `masked_`.

        Two ways fill two triangles. Where none leads, the decay is bounded: inf * 0 would be NaN.
        """
        one, *others = self.ways
        log, weight = one.between(), one.weight()
        for other in others:
            back = other.between()
            first = triangle_(torch.ones_like(log[0, 0, 0]), one.backwards)
            torch.lerp(back, log, first, out=log)
            weight = torch.lerp(other.weight(), weight, first, out=back)
            weight.diagonal(dim1=-2, dim2=-1).add_(other.dt * one.lost)  # A step sees itself in both ways.
        return decay_(log), weight

    def ports(self, way: Way) -> tuple[Tensor, Tensor]:
        """Return how steps enter the state that leaves a chunk, and how they read the one that enters [bhc q n]."""
        weight = way.until().mul_(way.dt.unsqueeze(-1))
        return (self.B * weight).flatten(0, 2), (self.C * way.since()).flatten(0, 2)


def by_head(x: Tensor, size: int) -> Tensor:
    """Return tokens [b l h p] as [bhc q p], every chunk of a head a dense matrix."""
    return _padded(x.transpose(1, 2), 2, size).view(-1, size, x.shape[-1])


def limit(like: Tensor) -> float:
    """Return a log2 beyond which a decay is as good as 0; denormal numbers, slow on many CPUs, are still far."""
    return 1000.0 if like.dtype == torch.float64 else 100.0


def decay_(log: Tensor) -> Tensor:
    """Turn logs into decays in place."""
    return log.clamp_(-limit(log), limit(log)).exp2_()


def cumulated(tensor: Tensor, backwards: bool) -> Tensor:
    """Sum over the last axis up to each step, that step's included, in the order of a way."""
    return tensor.flip(-1).cumsum(-1).flip(-1) if backwards else tensor.cumsum(-1)


def behind(tensor: Tensor, backwards: bool) -> Tensor:
    """Return what the step before holds, in the order of a way; the first step gets 0."""
    return F.pad(tensor, (-1, 1) if backwards else (1, -1))


def triangle_(matrix: Tensor, backwards: bool, strict: bool = False) -> Tensor:
    """Set to 0 in place where no way leads from step j to step i [... i j]; `strict`: from a step to itself, too."""
    return matrix.triu_(int(strict)) if backwards else matrix.tril_(-int(strict))


def _carry(gains: Tensor, log: Tensor, backwards: bool) -> Tensor:
    """Return the state that enters each chunk [z c m] from what each adds and its decay [z c]."""
    items, count, size = gains.shape
    group = count if count <= 2 * GROUP else GROUP
    gains, log = _padded(gains, 1, group).view(-1, group, size), _padded(log, 1, group).view(-1, group)
    total = cumulated(log, backwards)
    before = total - log
    decay = decay_(before[:, :, None] - total[:, None, :])
    states = torch.bmm(triangle_(decay, backwards, strict=True), gains)
    if group < count:
        end = _end(total, backwards)
        added = torch.bmm(decay_(end - total).unsqueeze(1), gains).view(items, -1, size)
        start = _carry(added, _at_least(end.view(items, -1)), backwards)
        states.baddbmm_(decay_(before).unsqueeze(2), start.reshape(-1, 1, size))
    return states.view(items, -1, size)[:, :count]


def _at_least(log: Tensor) -> Tensor:
    """Bound the decay through a chunk where little of a state is left, so that sums over a group keep their digits."""
    return log.clamp(min=-60.0 if log.dtype == torch.float64 else -30.0)


def _end(log: Tensor, backwards: bool) -> Tensor:
    """Return the last step of a way, as an axis of 1."""
    return log[..., :1] if backwards else log[..., -1:]


def _padded(tensor: Tensor, axis: int, size: int) -> Tensor:
    """Return a dense tensor with zeros behind an axis, so that `size` divides it."""
    pad = -tensor.shape[axis] % size
    if not pad:
        return tensor.contiguous()
    inner = tensor.ndim - 1 - axis % tensor.ndim
    return F.pad(tensor, (0, 0) * inner + (0, pad))
