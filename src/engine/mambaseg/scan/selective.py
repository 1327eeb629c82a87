"""Mamba-1's selective scan (Gu & Dao 2023, arXiv 2312.00752), for networks that were built on it.

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t        y_t = C_t . h_t + D u_t, times silu(z_t)

Every channel has its own step and every state of it its own decay, so there are no matrix products to gain from: the
networks of this project use `mambaseg.scan` instead.

| letter   | shape                | meaning                            |
|----------|----------------------|------------------------------------|
| u, delta | batch channel length | what enters; time step             |
| A        | channel state        | decay rate, < 0                    |
| B, C     | batch state length   | how it enters and how it is read   |
| D        | channel              | what passes by                     |
| z        | batch channel length | gate                               |
"""

from __future__ import annotations

import importlib
import importlib.util

import torch
import torch.nn.functional as F
from torch import Tensor

from mambaseg.errors import DeviceError
from mambaseg.scan.checks import check_kinds, check_shape, check_values

BACK_ENDS = ("auto", "torch", "mamba_ssm", "reference")
CHUNK = 64
"""Steps that are run one after the other, in all chunks at once; then chunks are run one after the other."""


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    backend: str = "auto",
    look_for_nan: bool = True,
) -> Tensor:
    """Run Mamba-1's scan; means the same as `selective_scan_fn` of mamba-ssm.

    Parameters
    ----------
    u, delta, A, B, C, D, z
        As in the module's table.
    delta_bias
        channel; added to delta first.
    delta_softplus
        Whether delta then goes through softplus.
    backend
        "auto" and "torch": exact, in chunks, everywhere. "mamba_ssm": its CUDA kernel. "reference": step by step in
        float64, for tests.
    look_for_nan
        Whether to refuse NaN and infinity. On a GPU that waits, and no CUDA graph can hold it: networks leave it out.

    Returns
    -------
    Tensor
        batch channel length, in the dtype of `u`; computed in float32, or float64 where `u` is.

    Raises
    ------
    ValueError
        If shapes do not fit, a dtype is not float16, bfloat16, float32 or float64, or a value is NaN or infinite
        and `look_for_nan` is set.
    DeviceError
        If the back end is unknown or cannot run here.
    """
    _check(u, delta, A, B, C, {"D": D, "z": z, "delta_bias": delta_bias}, look_for_nan)
    if backend not in BACK_ENDS:
        raise DeviceError(f"there is no selective scan back end {backend!r}; choose from {', '.join(BACK_ENDS)}")
    if backend == "mamba_ssm":
        return _by_mamba_ssm(u, delta, A, B, C, D, z, delta_bias, delta_softplus)
    exact = torch.float64 if u.dtype == torch.float64 or backend == "reference" else torch.float32
    step = delta.to(exact)
    if delta_bias is not None:
        step = step + delta_bias.to(exact)[:, None]
    if delta_softplus:
        step = F.softplus(step)
    tokens = [tensor.to(exact).transpose(1, 2) for tensor in (u, step, B, C)]  # batch length …
    run = _sequential if backend == "reference" else _chunked
    y = run(tokens[0], tokens[1], A.to(exact), tokens[2], tokens[3]).transpose(1, 2)
    if D is not None:
        y = y + D.to(exact)[:, None] * u
    return (y if z is None else y * F.silu(z.to(exact))).to(u.dtype)


def _chunked(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Two levels: `CHUNK` steps in all chunks at once from an empty state, then the carry from chunk to chunk."""
    batch, length, channels = u.shape
    size = min(CHUNK, length)
    pad = -length % size
    u, delta, B, C = (F.pad(tensor, (0, 0, 0, pad)).unflatten(1, (-1, size)) for tensor in (u, delta, B, C))
    log = delta[..., None] * A  # b c q d n
    decay, enters = torch.exp(log), (delta * u)[..., None] * B[:, :, :, None]
    state = torch.zeros_like(enters[:, :, 0])
    own = []
    for step in range(size):
        state = decay[:, :, step] * state + enters[:, :, step]
        own.append(state)
    total = torch.exp(log.cumsum(2))
    carry = torch.zeros_like(state[:, 0])
    before = []
    for chunk in range(state.shape[1]):
        before.append(carry)
        carry = total[:, chunk, -1] * carry + state[:, chunk]
    states = torch.stack(own, dim=2) + total * torch.stack(before, dim=1)[:, :, None]
    y = (states * C[:, :, :, None]).sum(-1)
    return y.flatten(1, 2)[:, :length].reshape(batch, length, channels)


def _sequential(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """One step after the other, as the paper writes it."""
    state = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])
    read = []
    for step in range(u.shape[1]):
        enters = (delta[:, step] * u[:, step])[..., None] * B[:, step, None]
        state = torch.exp(delta[:, step, :, None] * A) * state + enters
        read.append((state * C[:, step, None]).sum(-1))
    return torch.stack(read, dim=1)


def _by_mamba_ssm(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Tensor:
    missing = _missing_for_mamba_ssm(u.device)
    if missing is not None:
        raise DeviceError(f"the selective scan back end mamba_ssm cannot be used here: {missing}; use auto or torch")
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    y: Tensor = selective_scan_fn(u, delta, A, B, C, D, z, delta_bias, delta_softplus)
    return y


def _missing_for_mamba_ssm(device: torch.device) -> str | None:
    """Return what its kernel lacks here, None if nothing."""
    if importlib.util.find_spec("mamba_ssm") is None:
        return 'the package mamba-ssm is not installed (pip install "napari-mambaseg[mamba-ssm]")'
    if device.type != "cuda":
        return f"mamba-ssm runs on CUDA GPUs; the device is {device.type}"
    try:
        importlib.import_module("selective_scan_cuda")  # Built only where mamba-ssm was installed with a CUDA compiler.
    except ImportError as fault:
        return f"mamba-ssm was installed without its CUDA kernel ({fault})"
    return None


def _check(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    options: dict[str, Tensor | None],
    look_for_nan: bool,
) -> None:
    """Refuse what would be broadcast into something else, and values that would spread."""
    if u.ndim != 3 or 0 in u.shape:
        raise ValueError(f"u has the shape {tuple(u.shape)}; give (batch, channel, length), none of them 0")
    batch, channels, length = u.shape
    if A.ndim != 2 or 0 in A.shape:
        raise ValueError(f"A has the shape {tuple(A.shape)}; give (channel, state), none of them 0")
    state, given = A.shape[1], {name: tensor for name, tensor in options.items() if tensor is not None}
    shapes = {
        "delta": (batch, channels, length), "A": (channels, state), "B": (batch, state, length),
        "C": (batch, state, length), "D": (channels,), "z": (batch, channels, length), "delta_bias": (channels,),
    }  # fmt: skip
    tensors = {"u": u, "delta": delta, "A": A, "B": B, "C": C, **given}
    for name in [name for name in shapes if name in tensors]:
        check_shape(name, tensors[name], shapes[name], given=f"u of {tuple(u.shape)} and A of {tuple(A.shape)}")
    check_kinds(tensors)
    if look_for_nan:
        check_values(tensors)
