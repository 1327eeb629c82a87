"""The state space scan: one function, several back ends, tested equal.

The recurrence is Mamba-2's SSD form (Dao & Gu 2024, arXiv 2405.21060): one scalar decay per head and step,

    S_t = exp(dt_t A) S_{t-1} + dt_t B_t x_t^T        y_t = C_t^T S_t

| letter | shape                 | meaning                                    |
|--------|-----------------------|--------------------------------------------|
| x      | batch length head dim | what enters the state                      |
| dt     | batch length head     | time step, > 0                             |
| A      | batch head, or head   | decay rate, < 0                            |
| B, C   | batch length state    | how it enters and how it is read           |
| y      | batch length head dim | what is read                               |
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from mambaseg.errors import DeviceError
from mambaseg.scan.chunked import scan_chunked
from mambaseg.scan.reference import scan_sequential

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

BACK_ENDS: dict[str, Callable[..., Tensor]] = {"reference": scan_sequential, "torch": scan_chunked}
ENVIRONMENT = "MAMBASEG_BACKEND"
"""The environment variable that forces a back end."""

__all__ = ["BACK_ENDS", "ENVIRONMENT", "choose_back_end", "scan"]


def choose_back_end(name: str = "auto") -> str:
    """Return the back end that runs for `name`; "auto" follows the environment variable, then takes the best.

    Raises
    ------
    DeviceError
        If `name` (or the environment variable) is not a back end of this installation.
    """
    wanted = os.environ.get(ENVIRONMENT, "auto") if name == "auto" else name
    if wanted == "auto":
        return "torch"
    if wanted not in BACK_ENDS:
        raise DeviceError(f"there is no scan back end {wanted!r}; choose from auto, {', '.join(BACK_ENDS)}")
    return wanted


def scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backend: str = "auto") -> Tensor:
    """Run the scan over `length`; returns y with the shape and dtype of `x`.

    Computed in float32 (float64 where `x` is), whatever autocast says: time steps span five decades.

    Raises
    ------
    ValueError
        If shapes do not fit or a dtype is not float16, bfloat16, float32 or float64.
    DeviceError
        If `backend` is not available.
    """
    _check(x, dt, A, B, C)
    run = BACK_ENDS[choose_back_end(backend)]
    exact = torch.float64 if x.dtype == torch.float64 else torch.float32
    with torch.autocast(x.device.type, enabled=False):
        y = run(*(tensor.to(exact) for tensor in (x, dt, A.expand(x.shape[0], -1), B, C)))
    return y.to(x.dtype)


def _check(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> None:
    """Refuse shapes and dtypes that a back end would misread."""
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"x has the shape {tuple(x.shape)}; give (batch, length, head, dim), none of them 0")
    batch, length, heads, _ = x.shape
    wanted = {"dt": (dt, (batch, length, heads)), "B": (B, (batch, length, B.shape[-1])), "C": (C, tuple(B.shape))}
    for name, (tensor, shape) in wanted.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)}; with x of {tuple(x.shape)} give {shape}")
    if tuple(A.shape) not in {(heads,), (batch, heads)}:
        raise ValueError(f"A has the shape {tuple(A.shape)}; give ({heads},) or ({batch}, {heads})")
    allowed = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    if x.dtype not in allowed:
        raise ValueError(f"x is {x.dtype}; give one of {', '.join(map(str, allowed))}")
