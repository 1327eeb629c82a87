"""Which back end runs the scan: tried and compared before it is trusted, chosen once per device.

A back end is taken by itself only after a small scan on the device, in each precision that the networks use there,
gave the same values as the torch back end: a driver, a compiler or a GPU that does not fit shows itself there, and not
in a mask. Who trains also has its gradients compared; compiling those takes longer than most segmentations.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch

from mambaseg.errors import DeviceError
from mambaseg.scan.ways import run_mamba_ssm, run_reference, run_torch, run_triton

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

logger = logging.getLogger(__name__)
ENVIRONMENT = "MAMBASEG_BACKEND"
"""The environment variable that forces a back end."""
_LOW = frozenset({torch.bfloat16, torch.float32})
_OLDEST = (7, 5)
_TOLERANCE = 1e-3
_TOLERANCE_LOW = 2e-2
"""Of bfloat16, and of mamba-ssm, which multiplies float32 as TF32, with ten bits of mantissa."""


@dataclass(frozen=True)
class BackEnd:
    """One way to compute the scan."""

    run: Callable[..., Tensor]
    dtypes: frozenset[torch.dtype]
    """Of x, B and C as it takes them; others are converted to float32 first."""
    missing: Callable[[torch.device], str | None]
    """What this machine lacks for it, None if nothing is known to."""


def _nothing(device: torch.device) -> str | None:
    return None


def _missing_for_triton(device: torch.device) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    if device.type != "cuda":
        return f"Triton's kernels run on CUDA GPUs; the device is {device.type}"
    found = torch.cuda.get_device_capability(device)
    if found < _OLDEST:
        return f"the GPU is of compute capability {found[0]}.{found[1]}; {_OLDEST[0]}.{_OLDEST[1]} or newer is needed"
    return None


def _missing_for_mamba_ssm(device: torch.device) -> str | None:
    if importlib.util.find_spec("mamba_ssm") is None:
        return 'the package mamba-ssm is not installed (pip install "napari-mambaseg[mamba-ssm]")'
    return None if device.type == "cuda" else f"mamba-ssm runs on CUDA GPUs; the device is {device.type}"


BACK_ENDS: dict[str, BackEnd] = {
    "reference": BackEnd(run_reference, frozenset({torch.float32, torch.float64}), _nothing),
    "torch": BackEnd(run_torch, frozenset({torch.float32, torch.float64}), _nothing),
    "triton": BackEnd(run_triton, _LOW, _missing_for_triton),
    "mamba_ssm": BackEnd(run_mamba_ssm, _LOW, _missing_for_mamba_ssm),
}


def choose_back_end(name: str = "auto", device: torch.device | str = "cpu", gradients: bool = False) -> str:
    """Return the back end that runs for `name`; "auto" follows the environment variable, then takes the best.

    On a CUDA device that is "triton", if it passes its trial there, else "torch", with one warning in the log.
    `gradients` says whether they are wanted too.

    Raises
    ------
    DeviceError
        If a back end is forced, by `name` or by the environment variable, and cannot run on `device`.
    """
    device = _one_device(device)
    wanted = os.environ.get(ENVIRONMENT, "auto") if name == "auto" else name
    if wanted == "auto":
        return _best(device, gradients)
    if wanted not in BACK_ENDS:
        raise DeviceError(f"there is no scan back end {wanted!r}; choose from auto, {', '.join(BACK_ENDS)}")
    reason = _why_not(wanted, device, gradients)
    if reason is not None:
        raise DeviceError(f"the scan back end {wanted} cannot be used here: {reason}; use auto or torch")
    return wanted


def explain_back_ends(device: torch.device | str = "cpu") -> dict[str, str]:
    """Return for each back end "works", or why not."""
    return {name: _why_not(name, _one_device(device)) or "works" for name in BACK_ENDS}


def _one_device(device: torch.device | str) -> torch.device:
    """Return a device by one name, so that it is tried once: "cuda" is one of its GPUs."""
    device = torch.device(device)
    if device.type == "cuda" and device.index is None and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _best(device: torch.device, gradients: bool) -> str:
    if device.type != "cuda":
        return "torch"
    reason = _why_not("triton", device, gradients)
    if reason is not None:
        _warn_once(device, reason)
    return "triton" if reason is None else "torch"


@cache
def _warn_once(device: torch.device, reason: str) -> None:
    logger.warning("the scan runs in plain torch on %s, which is slower: triton is not used, as %s", device, reason)


def _why_not(name: str, device: torch.device, gradients: bool = False) -> str | None:
    try:
        return _trial(name, device, False) or (_trial(name, device, True) if gradients else None)
    except torch.OutOfMemoryError:  # Not kept: it may pass when others have let go of the memory.
        return f"there is no memory left on {device} for its trial"


@cache
def _trial(name: str, device: torch.device, gradients: bool) -> str | None:
    """Run a small scan and compare values, or gradients; return what is wrong, None if nothing."""
    if name in ("reference", "torch"):
        return None
    try:
        reason = BACK_ENDS[name].missing(device)
        if reason is not None:
            return reason
        for dtype in _precisions(name, device):
            error = _disagreement(name, device, dtype, gradients)
            bound = _TOLERANCE if dtype == torch.float32 and name != "mamba_ssm" else _TOLERANCE_LOW
            if not error < bound:
                return f"its trial is off by {error:.1e}"
    except torch.OutOfMemoryError:
        raise
    except Exception as fault:  # A compiler, a driver, a library: anything may break here, and nothing has begun.
        words = (str(fault).strip() or "no reason given").splitlines()[0][:200]
        return f"its trial failed ({type(fault).__name__}: {words})"
    return None


def _precisions(name: str, device: torch.device) -> list[torch.dtype]:
    """Return what networks may hand to a back end on a device."""
    low = device.type == "cuda" and torch.bfloat16 in BACK_ENDS[name].dtypes and torch.cuda.is_bf16_supported()
    return [torch.float32, torch.bfloat16] if low else [torch.float32]


def _disagreement(name: str, device: torch.device, dtype: torch.dtype, gradients: bool) -> float:
    """Return the largest relative difference to the torch back end in float32, of the values or of any gradient."""
    generator = torch.Generator().manual_seed(0)
    # More chunks than one program takes, so that each kernel has its turn.
    shapes = ((1, 300, 2, 16), (1, 300, 2, 2), (1, 2, 2), (1, 300, 16), (1, 300, 16))
    x, dt, A, B, C = (torch.rand(shape, generator=generator).to(device) for shape in shapes)
    x, B, C = (tensor.to(dtype) for tensor in (x, B, C))
    leaves = [x, dt * 0.1 + 1e-3, -4 * A - 0.1, B, C]
    results = []
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        for back_end, kind in ((name, dtype), ("torch", torch.float32)):
            inputs = [leaf.to(kind if leaf.dtype == dtype else leaf.dtype, copy=True) for leaf in leaves]
            inputs = [leaf.requires_grad_(gradients) for leaf in inputs]
            y = BACK_ENDS[back_end].run(*inputs, (False, True))
            results.append(torch.autograd.grad(y.float().square().sum(), inputs) if gradients else (y,))
    return max(_apart(one, other) for one, other in zip(*results, strict=True))


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one.float() - other).norm() / other.norm().clamp(min=1e-12))
