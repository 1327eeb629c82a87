"""A network made ready to segment: norms folded into convolutions, in the precision that suits the device.

On a GPU each pass over the features costs as much as a small convolution, so that bias, ReLU and residual are left to
the convolutions' own epilogues, and a 1x1 convolution is a matrix product.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg.network.mambaseg_2d import Residual

if TYPE_CHECKING:
    from mambaseg.network.segmentation_network import SegmentationNetwork

_ALIGNED = 8
"""Channels that cuDNN's fast kernels take at once; a first convolution with fewer is padded with zeros."""


def deploy(
    network: SegmentationNetwork, device: torch.device, present: Tensor | None = None
) -> SegmentationNetwork:
    """Return a copy of a network that can only predict, on `device`, fast.

    On CUDA devices that know bfloat16 it takes slices and computes in it (`dtype`), with float32 inside the scan.
    Elsewhere all is float32, and only rounding tells the copy's logits from the original's.

    Parameters
    ----------
    network
        Left as it is.
    device
        Where the copy will lie.
    present
        [channel]: 1 where a channel exists, in all that the copy will see. It then ignores what it is told of that.
    """
    ready = copy.deepcopy(network).eval().requires_grad_(False)
    with torch.no_grad():
        ready.fold_norms()
        if present is not None:
            ready.assume(present.cpu())
    ready.to(device)
    if device.type == "cuda":
        _fuse(ready)
        if torch.cuda.is_bf16_supported():
            _to_bfloat16(ready)
    ready.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it for modules
    return ready


def _to_bfloat16(network: nn.Module) -> None:
    """Convert what multiplies features; the scan's rates and steps and the norms that are left keep their digits."""
    for module in network.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.LayerNorm)):
            module.to(torch.bfloat16)


def _fuse(module: nn.Module) -> None:
    """Replace what cuDNN and cuBLAS can do in one call, from the inside out."""
    for name, child in list(module.named_children()):
        _fuse(child)
        if isinstance(child, Residual):
            setattr(module, name, ResidualInOne(child))
        elif isinstance(child, nn.Sequential):
            setattr(module, name, _fuse_sequence(child))
        elif isinstance(child, nn.Conv2d) and child.kernel_size == child.stride == (1, 1):
            setattr(module, name, Pointwise(child))


def _fuse_sequence(sequence: nn.Sequential) -> nn.Sequential:
    kept = [module for module in sequence if not isinstance(module, nn.Identity)]
    for place, (one, other) in enumerate(pairwise(kept)):
        if isinstance(one, nn.Conv2d) and isinstance(other, nn.ReLU) and one.bias is not None:
            kept[place], kept[place + 1] = ConvReLU(one), nn.Identity()
    return nn.Sequential(*(module for module in kept if not isinstance(module, nn.Identity)))


class Pointwise(nn.Module):
    """A 1x1 convolution as a matrix product, which adds the bias in its epilogue."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.linear = nn.Linear(conv.in_channels, conv.out_channels, bias=conv.bias is not None)
        self.linear.weight = nn.Parameter(conv.weight.detach()[:, :, 0, 0].contiguous(), requires_grad=False)
        if conv.bias is not None:
            self.linear.bias = nn.Parameter(conv.bias.detach(), requires_grad=False)

    def forward(self, u: Tensor) -> Tensor:
        """Return the product, with channels last in memory."""
        out: Tensor = self.linear(u.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class ConvReLU(nn.Module):
    """A convolution with its ReLU."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        pad = -conv.in_channels % _ALIGNED if conv.groups == 1 else 0
        if pad:
            conv.weight = nn.Parameter(F.pad(conv.weight.detach(), (0, 0, 0, 0, 0, pad)), requires_grad=False)
        self.conv, self.pad = conv, pad

    def forward(self, u: Tensor) -> Tensor:
        """Return what both give."""
        conv = self.conv
        u = F.pad(u, (0, 0, 0, 0, 0, self.pad)).contiguous(memory_format=torch.channels_last) if self.pad else u
        out: Tensor = torch.cudnn_convolution_relu(u, conv.weight, conv.bias, *_geometry(conv))
        return out


class ResidualInOne(nn.Module):
    """A residual block whose second convolution also adds the block's input and applies the ReLU."""

    def __init__(self, residual: Residual) -> None:
        super().__init__()
        first, second = residual.body[0], residual.body[-1]
        if not isinstance(second, nn.Conv2d):
            raise TypeError(f"a residual block ends with a convolution, not {type(second).__name__}")
        self.first, self.second = first, second

    def forward(self, u: Tensor) -> Tensor:
        """Return features of the same shape."""
        conv = self.second
        out: Tensor = torch.cudnn_convolution_add_relu(self.first(u), conv.weight, u, 1.0, conv.bias, *_geometry(conv))
        return out


def _geometry(conv: nn.Conv2d) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
    """Return stride, padding, dilation and groups, as torch's functions take them."""
    if isinstance(conv.padding, str):
        raise TypeError("padding must be given in pixels")
    return conv.stride, conv.padding, conv.dilation, conv.groups
