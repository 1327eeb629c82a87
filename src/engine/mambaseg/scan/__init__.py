"""The state space scan: one function, several back ends, tested equal.

The recurrence is Mamba-2's SSD form (Dao & Gu 2024, arXiv 2405.21060): one scalar decay per head and step,

    S_t = exp(dt_t A) S_{t-1} + dt_t B_t x_t^T        y_t = C_t^T S_t

| letter | shape                     | meaning                                    |
|--------|---------------------------|--------------------------------------------|
| x      | batch length head dim     | what enters the state                      |
| dt     | batch length way head     | time step, > 0                             |
| A      | way head, batch way head  | decay rate, < 0                            |
| B, C   | batch length state        | how it enters and how it is read           |
| y      | batch length head dim     | what is read, summed over the ways         |

A way is one direction: forwards or backwards through the same tokens, each with its own dt and A. `scan` has one
way, and dt and A without that axis; `scan_ways` has one or two, which the kernels run together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mambaseg.scan.back_ends import BACK_ENDS, ENVIRONMENT, choose_back_end, explain_back_ends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["BACK_ENDS", "ENVIRONMENT", "choose_back_end", "explain_back_ends", "scan", "scan_ways"]

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backend: str = "auto") -> Tensor:
    """Run the scan forwards over `length`; returns y with the shape and dtype of `x`.

    Parameters
    ----------
    x, B, C
        As above; they may be views.
    dt
        batch length head.
    A
        head, or batch head.
    backend
        "auto", or a name from `BACK_ENDS`.

    Raises
    ------
    ValueError
        If shapes do not fit, a dtype is not float16, bfloat16, float32 or float64, or a value is NaN or infinite.
    DeviceError
        If `backend` is not available.
    """
    if x.ndim == 4 and x.numel():
        batch, length, heads, _ = x.shape
        if tuple(dt.shape) != (batch, length, heads):
            raise ValueError(
                f"dt has the shape {tuple(dt.shape)}; with x of {tuple(x.shape)} give {(batch, length, heads)}"
            )
        if tuple(A.shape) not in {(heads,), (batch, heads)}:
            raise ValueError(f"A has the shape {tuple(A.shape)}; give ({heads},) or ({batch}, {heads})")
    _check(x, dt.unsqueeze(2), A.unsqueeze(-2), B, C, (False,))
    for name, tensor in {"x": x, "dt": dt, "A": A, "B": B, "C": C}.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} has values that are NaN or infinite; the scan would spread them over all of y")
    return _run(x, dt.unsqueeze(2), A.unsqueeze(-2), B, C, (False,), backend)


def scan_ways(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    backwards: Sequence[bool] = (False, True),
    backend: str = "auto",
) -> Tensor:
    """Run the scan in one or two ways and add them up; what the networks call.

    The shapes are in the module's table. Unlike `scan` it does not look for NaN: that would stop a GPU at each block.

    Raises
    ------
    ValueError, DeviceError
        As `scan`.
    """
    _check(x, dt, A, B, C, backwards)
    return _run(x, dt, A, B, C, backwards, backend)


def _run(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backwards: Sequence[bool], backend: str
) -> Tensor:
    """Run a back end in float32 (float64 where `x` is), whatever autocast says: time steps span five decades."""
    chosen = BACK_ENDS[choose_back_end(backend, x.device)]
    exact = torch.float64 if x.dtype == torch.float64 else torch.float32
    A = A.expand(x.shape[0], -1, -1).to(exact)
    with torch.autocast(x.device.type, enabled=False):
        if x.dtype not in chosen.dtypes:
            x_in, B_in, C_in = (tensor.to(exact) for tensor in (x, B, C))
        else:
            x_in, B_in, C_in = x, B.to(x.dtype), C.to(x.dtype)
        return chosen.run(x_in, dt.to(exact), A, B_in, C_in, tuple(backwards)).to(x.dtype)


def _check(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backwards: Sequence[bool]) -> None:
    """Refuse shapes and dtypes that a back end would misread."""
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"x has the shape {tuple(x.shape)}; give (batch, length, head, dim), none of them 0")
    if len(backwards) not in (1, 2):
        raise ValueError(f"{len(backwards)} ways were asked for; one or two can be run")
    batch, length, heads, _ = x.shape
    ways = len(backwards)
    wanted = {
        "dt": (dt, (batch, length, ways, heads)),
        "B": (B, (batch, length, B.shape[-1])),
        "C": (C, tuple(B.shape)),
    }
    for name, (tensor, shape) in wanted.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)}; with x of {tuple(x.shape)} give {shape}")
    if tuple(A.shape) not in {(ways, heads), (batch, ways, heads)}:
        raise ValueError(f"A has the shape {tuple(A.shape)}; give ({ways}, {heads}) or ({batch}, {ways}, {heads})")
    for name, tensor in {"x": x, "dt": dt, "A": A, "B": B, "C": C}.items():
        if tensor.dtype not in _DTYPES:
            raise ValueError(f"{name} is {tensor.dtype}; give one of {', '.join(map(str, _DTYPES))}")
