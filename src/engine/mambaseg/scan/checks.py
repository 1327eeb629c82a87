"""What the scans refuse: shapes, dtypes, devices and values that would be misread or spread silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_kinds(tensors: dict[str, Tensor]) -> None:
    """Refuse dtypes that the scans do not compute with, and tensors on several devices."""
    first, device = next((name, tensor.device) for name, tensor in tensors.items())
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise ValueError(f"{name} is {tensor.dtype}; give one of {', '.join(map(str, DTYPES))}")
        if tensor.device != device:
            raise ValueError(f"{name} is on {tensor.device} and {first} on {device}; give all on one device")


def check_values(tensors: dict[str, Tensor]) -> None:
    """Refuse NaN and infinity. On a GPU this waits for all that was launched before."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} has values that are NaN or infinite; the scan would spread them over all of y")


def check_shape(name: str, tensor: Tensor, *allowed: tuple[int, ...], given: str) -> None:
    """Refuse a shape that is none of those allowed beside what is `given`."""
    if tuple(tensor.shape) not in allowed:
        raise ValueError(
            f"{name} has the shape {tuple(tensor.shape)}; with {given} give {' or '.join(map(str, allowed))}"
        )
