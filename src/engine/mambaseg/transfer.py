"""Arrays to a device and back. On CUDA through a little pinned memory: one piece is packed while another travels."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

PIECE = 8_000_000
"""Bytes that travel at once; two such pieces are pinned, whatever the size of the array."""
_KEPT = frozenset(map(np.dtype, ("bool", "u1", "i1", "i2", "i4", "i8", "f2", "f4")))
"""Types that torch knows on every device; all others travel as float32."""


def to_device(array: Shaped[np.ndarray, "..."], device: torch.device) -> Shaped[Tensor, "..."]:
    """Return an array on a device, in its own type where torch knows it; on the CPU a view where one is possible.

    The numbers lie there as they lie here, whatever the order of the axes: a device sorts them faster.
    """
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    stored, native = array.transpose(order), array.dtype.newbyteorder("=")
    dtype = native if native in _KEPT else np.dtype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # What float32 cannot hold becomes infinite.
        there = _upload(stored, dtype, device) if device.type == "cuda" else _wrap(stored, dtype).to(device)
    return there.permute(*np.argsort(order).tolist())


def to_host(tensor: Shaped[Tensor, "..."]) -> Shaped[np.ndarray, "..."]:
    """Return a tensor as an array, in C order."""
    tensor = tensor.contiguous()
    array: np.ndarray = _download(tensor) if tensor.is_cuda else tensor.cpu().numpy()
    return array


def _wrap(array: np.ndarray, dtype: np.dtype) -> Tensor:
    """Return a tensor over the array's own memory, or over a copy where torch cannot take it as it is."""
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    return torch.from_numpy(np.require(array, dtype, "W"))


def _upload(array: np.ndarray, dtype: np.dtype, device: torch.device) -> Tensor:
    """Send an array, slab by slab along its first axis."""
    there = torch.empty(array.shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, device=device)
    slab = max(1, there[:1].numel())
    many = max(1, PIECE // (slab * dtype.itemsize))
    staging = _staging(min(many, len(array)) * slab, there.dtype)
    for number, here in enumerate(_pieces(len(array), many)):
        pinned, sent = staging[number % 2]
        sent.synchronize()
        piece = pinned[: there[here].numel()].view(there[here].shape)
        np.copyto(piece.numpy(), array[here], casting="unsafe")
        there[here].copy_(piece, non_blocking=True)
        sent.record()
    return there


def _download(tensor: Tensor) -> np.ndarray:
    """Fetch a contiguous tensor."""
    source, result = tensor.view(-1), torch.empty(tensor.shape, dtype=tensor.dtype)
    target, many = result.view(-1), PIECE // tensor.element_size()
    staging, pieces = _staging(min(many, len(source)), tensor.dtype), _pieces(len(source), many)

    def unpack(number: int) -> None:
        pinned, sent = staging[number % 2]
        sent.synchronize()
        target[pieces[number]] = pinned[: len(target[pieces[number]])]

    for number, here in enumerate(pieces):
        pinned, sent = staging[number % 2]
        pinned[: len(source[here])].copy_(source[here], non_blocking=True)
        sent.record()
        if number:
            unpack(number - 1)
    if pieces:
        unpack(len(pieces) - 1)
    array: np.ndarray = result.numpy()
    return array


def _staging(numbers: int, dtype: torch.dtype) -> list[tuple[Tensor, torch.cuda.Event]]:
    """Two pinned buffers, used in turn, each with the event that says that it may be used again."""
    return [(torch.empty(numbers, dtype=dtype, pin_memory=True), torch.cuda.Event()) for _ in range(2)]


def _pieces(length: int, many: int) -> list[slice]:
    return [slice(start, min(start + many, length)) for start in range(0, length, many)]
