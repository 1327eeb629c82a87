"""The scan as it is written in the paper, step by step in float64: what the other back ends are tested against."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def scan_sequential(
    x: Float[Tensor, "batch length head dim"],
    dt: Float[Tensor, "batch length head"],
    A: Float[Tensor, "batch head"],
    B: Float[Tensor, "batch length state"],
    C: Float[Tensor, "batch length state"],
) -> Float[Tensor, "batch length head dim"]:
    """Sequential scan; see `mambaseg.scan`. O(length) small steps: for tests only."""
    dtype = x.dtype
    x, dt, A, B, C = (tensor.double() for tensor in (x, dt, A, B, C))
    state = x.new_zeros(x.shape[0], x.shape[2], B.shape[2], x.shape[3])  # batch head state dim
    read = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt[:, t] * A)[..., None, None]
        enters = torch.einsum("bh,bn,bhp->bhnp", dt[:, t], B[:, t], x[:, t])
        state = decay * state + enters
        read.append(torch.einsum("bn,bhnp->bhp", C[:, t], state))
    return torch.stack(read, dim=1).to(dtype)
