"""Which device runs the network."""

from __future__ import annotations

import torch

from mambaseg.errors import DeviceError

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str = "auto") -> torch.device:
    """Return the device for `name`; "auto" takes CUDA, else MPS, else the CPU.

    Raises
    ------
    DeviceError
        If a device is asked for by name and this machine or this build of torch does not offer it.
    """
    there = {"cuda": _cuda(), "mps": torch.backends.mps.is_available(), "cpu": True}
    offered = [device for device, found in there.items() if found]
    if name == "auto":
        return torch.device(offered[0])
    if name not in DEVICES:
        raise DeviceError(f"there is no device {name!r}; choose from {', '.join(DEVICES)}")
    if name not in offered:
        reason = "this build of torch has no CUDA" if name == "cuda" and not torch.version.cuda else "none was found"
        raise DeviceError(f"the device {name} is not available ({reason}); use --device auto or {offered[0]}")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Return what a person calls the device."""
    if device.type == "cuda":
        return f"GPU: {torch.cuda.get_device_name(device)}"
    return "GPU: Apple (MPS)" if device.type == "mps" else f"CPU ({torch.get_num_threads()} threads)"


def _cuda() -> bool:
    """Whether CUDA is there and a kernel really runs: a driver may be too old for this torch.

    A GPU whose memory others fill is there; the task says what it does about that.
    """
    if not torch.cuda.is_available():
        return False
    try:
        return bool((torch.ones(2, device="cuda") + 1).sum().item() == 4)
    except RuntimeError as error:
        # Without room for CUDA's own context the error is no torch.OutOfMemoryError; only its text tells.
        return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)
