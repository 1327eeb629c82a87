"""The scan by own Triton kernels: how they are launched, and their gradients for autograd.

Configurations are fixed, chosen from measurements (benchmarks/results/scan_*.json), so that nothing is tuned at the
first use. Needs a GPU of sm_75 or newer; below sm_80, which has no bfloat16 or TF32 products, all is float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import triton
from jaxtyping import Float
from torch import Tensor

from mambaseg.scan import kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

OLDEST = (7, 5)
"""Compute capability of the oldest GPU that the kernels run on."""
CHUNK = 32
"""Steps of a chunk: one warp holds its tiles, so that nothing waits for other warps."""
_ENOUGH = 1024
"""Programs that fill a GPU: longer sequences get longer spans, not more programs."""
_LONGEST_SPAN = 16
_PLENTY = 2048
"""With so many programs left, each takes two heads, which share B and C."""
_GAIN_CHUNK = 64
"""Steps at once where only states are made: no matrix of decays between steps limits them."""
_ALONE = 8
"""Up to so many chunks one program walks the whole sequence: one launch instead of three."""


def scan_triton(
    x: Float[Tensor, "batch length head dim"],
    dt: Float[Tensor, "batch length way head"],
    A: Float[Tensor, "batch way head"],
    B: Float[Tensor, "batch length state"],
    C: Float[Tensor, "batch length state"],
    backwards: Sequence[bool] = (False,),
) -> Float[Tensor, "batch length head dim"]:
    """Scan in one or two ways at once, added up; `backwards` says for each way whether time runs backwards.

    x, B and C may be views into one tensor of tokens; they are read where they lie.
    """
    y: Tensor = _Scan.apply(  # type: ignore[no-untyped-call]  # torch gives it no types
        x, dt.float(), A.float(), B, C, tuple(backwards)
    )
    return y


class _Layout(NamedTuple):
    """Sizes that the kernels are told."""

    batch: int
    length: int
    heads: int
    dim: int
    ways: int
    state: int
    spans: int
    sub: int
    rows: int
    """Of a state's tile: state and dim, rounded up as tl.dot wants."""
    columns: int

    @classmethod
    def of(cls, x: Tensor, dt: Tensor, B: Tensor, sub: int | None) -> _Layout:
        batch, length, heads, dim = x.shape
        chunks = triton.cdiv(length, CHUNK)
        if sub is None:
            wanted = chunks * batch * heads // _ENOUGH
            sub = min(_LONGEST_SPAN, max(2, triton.next_power_of_2(wanted + 1) // 2))
            if chunks <= _ALONE:
                sub = triton.next_power_of_2(chunks)
        rows, columns = (max(16, triton.next_power_of_2(size)) for size in (B.shape[-1], dim))
        return cls(
            batch, length, heads, dim, dt.shape[2], B.shape[-1], triton.cdiv(chunks, sub), sub, rows, columns
        )

    @property
    def even(self) -> bool:
        """Whether no tile hangs over an edge."""
        whole = self.length % (CHUNK * self.sub) == 0
        return whole and self.rows == self.state and self.columns == self.dim

    def states(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return room for a state and a decay for each span."""
        shape = (self.batch, self.ways, self.spans, self.heads)
        return (
            torch.empty((*shape, self.rows, self.columns), dtype=torch.float32, device=like.device),
            torch.empty(shape, dtype=torch.float32, device=like.device),
        )


class _Scan(torch.autograd.Function):
    """Autograd's view of the kernels. Nothing but the inputs is kept for the backward pass: states are made anew."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backwards: tuple[bool, ...]
    ) -> Tensor:
        x, B, C = (_rows_contiguous(tensor) for tensor in (x, B, C))
        ctx.save_for_backward(x, dt, A, B, C)
        ctx.backwards = backwards
        layout = _Layout.of(x, dt, B, None)
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        options = _precision(x)
        alone = layout.spans == 1
        states = y if alone else _entering(layout, x, dt, A, B, backwards, options)
        together = 2 if layout.heads % 2 == 0 and layout.spans * layout.batch * layout.heads >= _PLENTY else 1
        kernels.outputs[(layout.spans * layout.heads // together, layout.batch)](
            x, dt, A, B, C, states, y,
            *x.stride()[:3], *dt.stride(), *A.stride(), *B.stride()[:2], *C.stride()[:2], *y.stride()[:3],
            layout.length, layout.spans, layout.heads, layout.state, layout.dim,
            WAYS=layout.ways, BACK0=backwards[0], BACK1=backwards[-1], ALONE=alone, TOGETHER=together,
            Q=CHUNK, SUB=layout.sub, N=layout.rows, P=layout.columns, EVEN=layout.even,
            num_warps=_warps(layout), num_stages=3, **options,
        )  # fmt: skip
        return y

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, dt, A, B, C = ctx.saved_tensors
        dy, backwards = _rows_contiguous(outputs[0]), ctx.backwards
        layout, options = _Layout.of(x, dt, B, 1), _precision(x)
        exact = options | {"LOW": False}
        states = _entering(layout, x, dt, A, B, backwards, exact)
        adjoint = _entering(layout, dy, dt, A, C, backwards, exact, adjoint=True)
        batch, length, heads, ways = layout.batch, layout.length, layout.heads, layout.ways
        new = {"dtype": torch.float32, "device": x.device}
        dx, ddt = torch.empty(x.shape, **new), torch.empty((batch, length, ways, heads), **new)
        dA = torch.empty((batch, ways, layout.spans, heads), **new)
        dB, dC = torch.empty(B.shape, **new), torch.empty(C.shape, **new)
        kernels.gradients[(layout.spans, batch)](
            x, dt, A, B, C, dy, states, adjoint, dx, ddt, dA, dB, dC,
            *x.stride()[:3], *dt.stride(), *A.stride(), *B.stride()[:2], *C.stride()[:2], *dy.stride()[:3],
            length, layout.spans, layout.state, layout.dim,
            HEADS=heads, WAYS=ways, BACK0=backwards[0], BACK1=backwards[-1],
            Q=CHUNK, N=layout.rows, P=layout.columns, num_warps=2 * _warps(layout), **options,
        )  # fmt: skip
        return dx.to(x.dtype), ddt, dA.sum(2), dB.to(B.dtype), dC.to(C.dtype), None


def _entering(
    layout: _Layout,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    backwards: tuple[bool, ...],
    options: dict[str, Any],
    adjoint: bool = False,
) -> Tensor:
    """Return the state that enters each span, or the adjoint that leaves it."""
    states, logs = layout.states(x)
    chunk = min(_GAIN_CHUNK, CHUNK * layout.sub)
    kernels.gains[(layout.spans * layout.heads, layout.batch, layout.ways)](
        x, dt, A, B, states, logs,
        *x.stride()[:3], *dt.stride(), *A.stride(), *B.stride()[:2],
        layout.length, layout.spans, layout.heads, layout.ways, layout.state, layout.dim,
        ADJOINT=adjoint, BACK0=backwards[0], BACK1=backwards[-1],
        Q=chunk, SUB=CHUNK * layout.sub // chunk, N=layout.rows, P=layout.columns, EVEN=layout.even,
        num_warps=_warps(layout), num_stages=2, **options,
    )  # fmt: skip
    size = layout.rows * layout.columns
    at_once = min(512, triton.next_power_of_2(layout.spans))
    part = min(size, 8)
    kernels.carry[(layout.batch * layout.ways, layout.heads, size // part)](
        states, logs, layout.spans, layout.heads,
        ADJOINT=adjoint, SIZE=size, SPANS=at_once, PART=part, num_warps=4,
    )  # fmt: skip
    return states


def _rows_contiguous(tensor: Tensor) -> Tensor:
    """Return a tensor whose last axis is dense, as the kernels read it; a copy only where it is not."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _warps(layout: _Layout) -> int:
    """One warp for a chunk; more where tiles are larger than its registers."""
    return max(1, layout.rows * layout.columns // 1024)


def _precision(x: Tensor) -> dict[str, Any]:
    """Products of bfloat16 where the inputs are; else float32 in three TF32 products, or without tensor cores."""
    modern = x.is_cuda and torch.cuda.get_device_capability(x.device)[0] >= 8
    return {"LOW": modern and x.dtype == torch.bfloat16, "PRECISION": "tf32x3" if modern else "ieee"}
