"""The scan as chunked matrix products: one code for CPU, CUDA and MPS (SSD, arXiv 2405.21060 section 6).

Inside a chunk of q steps the recurrence is a masked q x q matrix product; across chunks it is the same recurrence
with one step per chunk, so it is solved by the same two ideas again, group by group. Nothing loops over time.

    time    |---- chunk 0 ----|---- chunk 1 ----|---- chunk 2 ----| ...
    y     =   inside chunk      inside chunk      inside chunk           (`Chunks.inside` @ x)
            +                   C . carry 0       C . carry 1            (`Way.carry`)

A forward and a backward way fill the two triangles of one matrix, so that both cost one product inside a chunk and
nothing is reversed. Gradients are written out: of all that autograd would keep, only the carried states are kept.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from mambaseg.scan.chunks import Chunks, Way, behind, by_head, cumulated, limit, triangle_

CHUNK = {"cpu": 32}
"""Steps per chunk by device type; 64 elsewhere. On a CPU 16 to 64 were tried: 32 was fastest."""


def scan_chunked(
    x: Float[Tensor, "batch length head dim"],
    dt: Float[Tensor, "batch length way head"],
    A: Float[Tensor, "batch way head"],
    B: Float[Tensor, "batch length state"],
    C: Float[Tensor, "batch length state"],
    backwards: tuple[bool, ...] = (False,),
    chunk: int | None = None,
) -> Float[Tensor, "batch length head dim"]:
    """Scan in one or two ways, added up; see `mambaseg.scan`. Any length; one dtype."""
    size = chunk or CHUNK.get(x.device.type, 64)
    if len(set(backwards)) < len(backwards):  # Two ways in one direction do not fill two triangles.
        one, other = (scan_chunked(x, dt[:, :, [way]], A[:, [way]], B, C, backwards[:1], chunk) for way in (0, 1))
        return one + other
    y: Tensor = _Scan.apply(x, dt, A, B, C, backwards, size)  # type: ignore[no-untyped-call]  # torch gives it no types
    return y


class _Scan(torch.autograd.Function):
    """Autograd's view of the scan."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backwards: tuple[bool, ...], size: int
    ) -> Tensor:
        chunks = Chunks.cut(x, dt, A, B, C, backwards, size)
        decay, weight = chunks.inside()
        mixing = decay.mul_(weight).mul_(chunks.pairs())
        y = torch.bmm(mixing.flatten(0, 2), chunks.x)
        states = []
        for way in chunks.ways:
            enters, reads = chunks.ports(way)
            states.append(way.carry(torch.bmm(enters.transpose(1, 2), chunks.x)))
            y.baddbmm_(reads, states[-1])
        ctx.save_for_backward(x, dt, A, B, C, *states)
        ctx.backwards, ctx.size = backwards, size
        return _tokens(y, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, dt, A, B, C, *states = ctx.saved_tensors
        batch, length = x.shape[:2]
        with torch.autocast(x.device.type, enabled=False):
            chunks, dy = Chunks.cut(x, dt, A, B, C, ctx.backwards, ctx.size), by_head(dy, ctx.size)
            summed, dweight = _inside_gradients(chunks, dy)
            found = [
                _way_gradients(chunks, way, rate, state, dy, dweight, summed)
                for way, rate, state in zip(chunks.ways, A.unbind(1), states, strict=True)
            ]
        dx, dB, dC = summed
        ddt = torch.stack([one.flatten(-2)[..., :length].transpose(1, 2) for one, _ in found], dim=2)
        dA = torch.stack([one for _, one in found], dim=1)
        dB, dC = (tensor.reshape(batch, -1, B.shape[-1])[:, :length] for tensor in (dB, dC))
        return _tokens(dx, x), ddt, dA, dB, dC, None, None


def _tokens(y: Tensor, like: Tensor) -> Tensor:
    """Return [bhc q p] as tokens [b l h p], without a copy."""
    batch, length, heads, dim = like.shape
    return y.view(batch, heads, -1, dim).transpose(1, 2)[:, :length]


def _inside_gradients(chunks: Chunks, dy: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Return the gradients of x, B and C inside chunks, and those of the weights of `inside`."""
    decay, weight = chunks.inside()
    kernel, pairs = decay * weight, chunks.pairs()
    dx = torch.bmm((kernel * pairs).flatten(0, 2).transpose(1, 2), dy)
    dmixing = torch.bmm(dy, chunks.x.transpose(1, 2)).view_as(kernel)
    dpairs = chunks.masked_(kernel.mul_(dmixing).sum(1, keepdim=True))
    return (dx, dpairs.transpose(-1, -2) @ chunks.C, dpairs @ chunks.B), dmixing.mul_(pairs).mul_(decay)


def _way_gradients(
    chunks: Chunks,
    way: Way,
    A: Tensor,
    state: Tensor,
    dy: Tensor,
    dweight: Tensor,
    summed: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Return the gradients of a way's dt [b h c q] and A [b h]; add those of x, B, C through states to `summed`."""
    dt, rate, back = way.dt, A[..., None, None], way.backwards
    dleft, dread, dthrough = _carried_gradients(chunks, way, state, dy, summed)
    here = triangle_(dweight.clone(), back, strict=True)
    ddt = here.sum(-2).mul_(way.lost).add_(dleft)
    ddt.addcmul_(dweight.diagonal(dim1=-2, dim2=-1), chunks.ways[0].lost)
    # A step's decay acts on every pair j -> i of which it lies between. They are summed pair by pair: as a difference
    # of the sums over all i and all j, the gradients of fast decays would be lost among those of slow ones.
    earlier = triangle_(torch.ones_like(here[0, 0, 0]), not back, strict=True)
    between = triangle_(here.mul_(way.weight()) @ earlier, back).sum(-2)
    leaving = cumulated(behind(dleft * dt, back), back)  # of what entered before each step
    drate = between.add_(cumulated(dread, not back)).add_(leaving).add_(dthrough.unsqueeze(-1))
    drate.mul_(way.rate > -limit(dt))
    return ddt.addcmul_(drate, rate), drate.mul_(dt).sum((-2, -1))


def _carried_gradients(
    chunks: Chunks, way: Way, state: Tensor, dy: Tensor, summed: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of each dt as it enters states, of the logs of `since` and of the decay through chunks."""
    dx, dB, dC = summed
    enters, reads = chunks.ports(way)
    adjoint = way.carry(torch.bmm(reads.transpose(1, 2), dy), adjoint=True)
    dx.baddbmm_(enters, adjoint)
    since, until = way.since(), way.until()
    dread = torch.bmm(dy, state.transpose(1, 2)).view(*way.dt.shape, -1).mul_(since)
    dleft = torch.bmm(chunks.x, adjoint.transpose(1, 2)).view_as(dread).mul_(until)
    dC += dread.sum(1, keepdim=True)
    dB += (dleft * way.dt.unsqueeze(-1)).sum(1, keepdim=True)
    through = way.through().exp2_().view(way.dt.shape[:-1])
    dthrough = (adjoint * state).view(*through.shape, -1).sum(-1) * through
    return dleft.mul_(chunks.B).sum(-1), dread.mul_(chunks.C).sum(-1), dthrough
