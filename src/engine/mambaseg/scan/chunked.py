"""The scan as chunked matrix products: one code for CPU, CUDA and MPS (SSD, arXiv 2405.21060 section 6).

Inside a chunk of Q steps the recurrence is a masked Q x Q matrix product; across chunks it is the same recurrence
with one step per chunk, so it is solved by the same two ideas again, group by group. Nothing loops over time.

    time    |---- chunk 0 ----|---- chunk 1 ----|---- chunk 2 ----| ...
    y     =   inside chunk      inside chunk      inside chunk           (`_decays` @ x)
            +                   C . carry 0       C . carry 1            (`_carry`)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

CHUNK = {"cpu": 32}
"""Steps per chunk by device type; 64 elsewhere. Measured: research notes, mamba.md section 2."""
GROUP = 32
"""Chunks carried together by one matrix product."""


def scan_chunked(
    x: Float[Tensor, "batch length head dim"],
    dt: Float[Tensor, "batch length head"],
    A: Float[Tensor, "batch head"],
    B: Float[Tensor, "batch length state"],
    C: Float[Tensor, "batch length state"],
    chunk: int | None = None,
) -> Float[Tensor, "batch length head dim"]:
    """Chunked scan; see `mambaseg.scan`. Any length: the last chunk is padded with steps of dt = 0."""
    batch, length, heads, dim = x.shape
    size = chunk or CHUNK.get(x.device.type, 64)
    pad = -length % size
    if pad:
        x, dt = F.pad(x, (0, 0, 0, 0, 0, pad)), F.pad(dt, (0, 0, 0, pad))
        B, C = F.pad(B, (0, 0, 0, pad)), F.pad(C, (0, 0, 0, pad))
    chunks = (length + pad) // size
    rate = _log_decay(dt, A).view(batch, chunks, size, heads).transpose(2, 3)  # b c h q
    total = rate.cumsum(-1)
    enters = (x * dt[..., None]).view(batch, chunks, size, heads, dim).transpose(2, 3)  # b c h q p
    B, C = B.view(batch, chunks, 1, size, -1), C.view(batch, chunks, 1, size, -1)  # b c 1 q n
    inside = (_decays(total) * (C @ B.transpose(-1, -2))) @ enters
    until_end = torch.exp(total[..., -1:] - total)
    states = B.transpose(-1, -2) @ (enters * until_end[..., None])  # b c h n p: each chunk's own gain
    before = _carry(states, total[..., -1])
    y = inside + (C @ before) * torch.exp(total)[..., None]
    return y.transpose(2, 3).reshape(batch, length + pad, heads, dim)[:, :length]


def _log_decay(dt: Float[Tensor, "batch length head"], A: Float[Tensor, "batch head"]) -> Tensor:
    """Return dt A, bounded below where exp has long vanished, so that sums over a chunk keep their digits."""
    floor = -40.0 if dt.dtype == torch.float64 else -20.0
    return (dt * A[:, None]).clamp(min=floor)


def _decays(total: Float[Tensor, "*batch step"]) -> Float[Tensor, "*batch step step"]:
    """Return exp(total_i - total_j) for j <= i, else 0. Masked before exp: inf * 0 would be NaN in the gradient."""
    difference = total[..., :, None] - total[..., None, :]
    later = torch.ones(difference.shape[-2:], dtype=torch.bool, device=total.device).triu(1)
    return torch.exp(difference.masked_fill(later, float("-inf")))


def _carry(
    states: Float[Tensor, "batch chunk head state dim"], log_decay: Float[Tensor, "batch chunk head"]
) -> Float[Tensor, "batch chunk head state dim"]:
    """The state before each chunk, from each chunk's own gain and its decay from end to end."""
    batch, chunks, heads, n, p = states.shape
    if chunks == 1:
        return torch.zeros_like(states)
    group = min(GROUP, chunks)
    pad = -chunks % group
    if pad:
        states, log_decay = F.pad(states, (0, 0, 0, 0, 0, 0, 0, pad)), F.pad(log_decay, (0, 0, 0, pad))
    groups = (chunks + pad) // group
    total = log_decay.view(batch, groups, group, heads).transpose(2, 3).cumsum(-1)  # b g h k
    gains = states.view(batch, groups, group, heads, n * p).transpose(2, 3)  # b g h k np
    after = _decays(total) @ gains  # the state after each chunk, counted from its group's start
    if groups > 1:
        start = _carry(after[..., -1, :].view(batch, groups, heads, n, p), total[..., -1])
        after = after + torch.exp(total)[..., None] * start.view(batch, groups, heads, 1, n * p)
    after = after.transpose(2, 3).reshape(batch, chunks + pad, heads, n, p)[:, : chunks - 1]
    return F.pad(after, (0, 0, 0, 0, 0, 0, 1, 0))
