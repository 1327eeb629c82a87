"""Who takes part in `benchmark_scan`, each with inputs in its own layout: laying them out is not timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from mambaseg.scan.back_ends import BACK_ENDS, explain_back_ends
from mambaseg.scan.ways import MAMBA_SSM_CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class Contender(NamedTuple):
    """One implementation of the scan."""

    name: str
    prepare: Callable[[list[Tensor]], list[Tensor]]
    """Takes x, dt, A, B, C as `scan_ways` does; returns what `call` takes."""
    call: Callable[..., Tensor]
    restore: Callable[[Tensor, Tensor], Tensor] = lambda y, x: y
    """Returns y as `scan_ways` does, from what `call` returned, and x."""
    trains: bool = True
    """Whether its backward pass is measured too."""


def contenders(device: torch.device, backwards: tuple[bool, ...]) -> list[Contender]:
    """Return all that can run on a device in these ways."""
    states = explain_back_ends(device)
    here = [name for name, state in states.items() if state == "works" and name != "reference"]
    found = [_back_end(name, backwards) for name in here]
    if len(backwards) > 1:
        return found
    if "mamba_ssm" in here:
        found = [_MAMBA_SSM if one.name == "mamba_ssm" else one for one in found]
        found.append(_MAMBA1_SELECTIVE)
    if device.type == "cpu":
        found.append(_MAMBA1_REFERENCE)
    return found


def _back_end(name: str, backwards: tuple[bool, ...]) -> Contender:
    """Return a back end as networks call it, with x, B and C in a dtype that it takes."""
    known = BACK_ENDS[name]

    def prepare(tensors: list[Tensor]) -> list[Tensor]:
        low = tensors[0].dtype
        return [tensor.float() if tensor.dtype == low and low not in known.dtypes else tensor for tensor in tensors]

    return Contender(name, prepare, lambda *tensors: known.run(*tensors, backwards))


def _for_mamba_ssm(tensors: list[Tensor]) -> list[Tensor]:
    x, dt, A, B, C = tensors
    return [x, dt[:, :, 0].contiguous(), A[0, 0].contiguous(), B.unsqueeze(2), C.unsqueeze(2)]


def _mamba_ssm(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined

    y: Tensor = mamba_chunk_scan_combined(x, dt, A, B, C, chunk_size=MAMBA_SSM_CHUNK)
    return y


def _for_mamba1(tensors: list[Tensor]) -> list[Tensor]:
    """Return u, delta [b d l], A [d n], B, C [b n l]: the same scan, told for each channel and state."""
    x, dt, A, B, C = tensors
    dim = x.shape[3]
    delta = dt[:, :, 0].to(x.dtype).repeat_interleave(dim, dim=2)
    decay = A[0, 0].repeat_interleave(dim)[:, None].expand(-1, B.shape[2])
    turned = (tensor.transpose(1, 2).contiguous() for tensor in (x.flatten(2), delta, B, C))
    u, delta, B, C = turned
    return [u, delta, decay.contiguous(), B, C]


def _from_mamba1(y: Tensor, x: Tensor) -> Tensor:
    return y.transpose(1, 2).reshape(x.shape)


def _mamba1_selective(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    y: Tensor = selective_scan_fn(u, delta, A, B, C)
    return y


def _mamba1_reference(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Mamba-1's reference algorithm (arXiv 2312.00752): all decays and gains first, then one step after the other."""
    decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, A))
    gain = torch.einsum("bdl,bnl,bdl->bdln", delta, B, u)
    state = u.new_zeros(u.shape[0], u.shape[1], A.shape[1])
    read = []
    for step in range(u.shape[2]):
        state = decay[:, :, step] * state + gain[:, :, step]
        read.append(torch.einsum("bdn,bn->bd", state, C[:, :, step]))
    return torch.stack(read, dim=2)


_MAMBA_SSM = Contender("mamba_ssm", _for_mamba_ssm, _mamba_ssm)
_MAMBA1_SELECTIVE = Contender("mamba1_selective", _for_mamba1, _mamba1_selective, _from_mamba1)
_MAMBA1_REFERENCE = Contender("mamba1_reference", _for_mamba1, _mamba1_reference, _from_mamba1, trains=False)
