"""Each back end brought to one form: one or two ways through the same tokens, added up.

A back end that knows forward ways only gets the backward way as a second batch of reversed tokens, or in a second
call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mambaseg.scan.chunked import scan_chunked
from mambaseg.scan.reference import scan_sequential

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

MAMBA_SSM_CHUNK = 256
"""Steps of a chunk in mamba-ssm's kernels; its own default in Mamba2."""


def run_torch(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backwards: tuple[bool, ...]) -> Tensor:
    """Chunked matrix products, everywhere: a forward and a backward way at once, nothing reversed."""
    return scan_chunked(x, dt, A, B, C, backwards)


def run_reference(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backwards: tuple[bool, ...]) -> Tensor:
    """Step by step, for tests."""
    return _as_one_batch(scan_sequential, x, dt, A, B, C, backwards)


def run_triton(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backwards: tuple[bool, ...]) -> Tensor:
    """Own kernels on CUDA: both ways in the same launches, nothing reversed or copied."""
    from mambaseg.scan.triton_scan import scan_triton  # Only here: triton is not everywhere.

    return scan_triton(x, dt, A, B, C, backwards)


def run_mamba_ssm(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backwards: tuple[bool, ...]) -> Tensor:
    """The published kernels of Mamba-2; they have one decay for all of a batch, so each item is a call of its own."""
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined

    y = torch.zeros_like(x)
    for way, back in enumerate(backwards):
        tokens = [(tensor.flip(1) if back else tensor).contiguous() for tensor in (x, dt[:, :, way], B, C)]
        rates = A[:, way]
        # One set of rates seen as many has no stride; looking at the values would stop the GPU.
        if len(rates) == 1 or rates.stride(0) == 0:
            one = _mamba_ssm_call(mamba_chunk_scan_combined, tokens, rates[0])
        else:
            calls = [
                _mamba_ssm_call(mamba_chunk_scan_combined, [tensor[item : item + 1] for tensor in tokens], rates[item])
                for item in range(len(x))
            ]
            one = torch.cat(calls)
        y = y + (one.flip(1) if back else one)
    return y


def _mamba_ssm_call(run: Callable[..., Tensor], tokens: list[Tensor], rate: Tensor) -> Tensor:
    x, dt, B, C = tokens
    y: Tensor = run(x, dt, rate.contiguous(), B.unsqueeze(2), C.unsqueeze(2), chunk_size=MAMBA_SSM_CHUNK)
    return y


def _as_one_batch(
    run: Callable[..., Tensor],
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    backwards: tuple[bool, ...],
) -> Tensor:
    """Run all ways in one call, the backward ones as further items of the batch."""
    if backwards == (False,):
        return run(x, dt[:, :, 0], A[:, 0], B, C)

    def each(tensors: list[Tensor]) -> Tensor:
        return torch.cat([one.flip(1) if back else one for one, back in zip(tensors, backwards, strict=True)])

    ways = len(backwards)
    steps = each([dt[:, :, way] for way in range(ways)])
    rates = torch.cat([A[:, way] for way in range(ways)])
    y = run(each([x] * ways), steps, rates, each([B] * ways), each([C] * ways))
    parts = y.split(len(x))
    summed: Tensor = parts[0].flip(1) if backwards[0] else parts[0]
    for part, back in zip(parts[1:], backwards[1:], strict=True):
        summed = summed + (part.flip(1) if back else part)
    return summed
