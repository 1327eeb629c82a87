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
from mambaseg.scan.checks import check_kinds, check_shape, check_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["BACK_ENDS", "ENVIRONMENT", "choose_back_end", "explain_back_ends", "scan", "scan_ways"]


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
    _check_tokens(x)
    batch, length, heads, _ = x.shape
    given = f"x of {tuple(x.shape)}"
    check_shape("dt", dt, (batch, length, heads), given=given)
    check_shape("A", A, (heads,), (batch, heads), given=given)
    _check(x, dt.unsqueeze(2), A.unsqueeze(-2), B, C, (False,))
    check_values({"x": x, "dt": dt, "A": A, "B": B, "C": C})
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


def _run(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backwards: Sequence[bool], backend: str) -> Tensor:
    """Run a back end in float32 (float64 where `x` is), whatever autocast says: time steps span five decades."""
    gradients = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, dt, A, B, C))
    chosen = BACK_ENDS[choose_back_end(backend, x.device, gradients)]
    exact = torch.float64 if x.dtype == torch.float64 else torch.float32
    A = A.expand(x.shape[0], -1, -1).to(exact)
    with torch.autocast(x.device.type, enabled=False):
        if x.dtype not in chosen.dtypes:
            x_in, B_in, C_in = (tensor.to(exact) for tensor in (x, B, C))
        else:
            x_in, B_in, C_in = x, B.to(x.dtype), C.to(x.dtype)
        return chosen.run(x_in, dt.to(exact), A, B_in, C_in, tuple(backwards)).to(x.dtype)


def _check_tokens(x: Tensor) -> None:
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"x has the shape {tuple(x.shape)}; give (batch, length, head, dim), none of them 0")


def _check(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backwards: Sequence[bool]) -> None:
    """Refuse shapes and dtypes that a back end would misread."""
    _check_tokens(x)
    if len(backwards) not in (1, 2):
        raise ValueError(f"{len(backwards)} ways were asked for; one or two can be run")
    batch, length, heads, _ = x.shape
    ways, given = len(backwards), f"x of {tuple(x.shape)}"
    if B.ndim != 3 or 0 in B.shape:
        raise ValueError(f"B has the shape {tuple(B.shape)}; give (batch, length, state), none of them 0")
    state = B.shape[2]
    check_shape("dt", dt, (batch, length, ways, heads), given=given)
    check_shape("A", A, (ways, heads), (batch, ways, heads), given=given)
    check_shape("B", B, (batch, length, state), given=given)
    check_shape("C", C, (batch, length, state), given=f"{given} and B of {tuple(B.shape)}")
    check_kinds({"x": x, "dt": dt, "A": A, "B": B, "C": C})
