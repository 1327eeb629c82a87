"""Batch norms folded into convolutions, for networks that only predict.

In evaluation mode a batch norm is one scale and one shift for each channel, a(u) = s u + t. A convolution W before it
takes both over, s W u + (s b + t), and so does a 1x1 convolution after it, W s u + (W t + b); a larger one could not,
because its padding of zeros lies behind the norm.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


def fold_sequences(network: nn.Module) -> None:
    """Fold the norms that stand right beside a convolution in an `nn.Sequential`."""
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for place, (one, other) in enumerate(pairwise(list(sequence))):
            if isinstance(one, (nn.Conv2d, nn.ConvTranspose2d)) and isinstance(other, nn.BatchNorm2d):
                fold_after(one, other)
                sequence[place + 1] = nn.Identity()
            elif isinstance(one, nn.BatchNorm2d) and isinstance(other, nn.Conv2d) and other.kernel_size == (1, 1):
                fold_before(one, other)
                sequence[place] = nn.Identity()


def fold_after(conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    """Let a convolution do what the norm after it does."""
    scale, shift = scale_and_shift(norm)
    bias = scale.new_zeros(len(scale)) if conv.bias is None else conv.bias
    # A transposed convolution's weights have what comes out on their second axis.
    conv.weight.mul_(scale[:, None, None] if isinstance(conv, nn.ConvTranspose2d) else scale[:, None, None, None])
    conv.bias = nn.Parameter(bias * scale + shift, requires_grad=False)


def fold_before(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> None:
    """Let a 1x1 convolution do what the norm before it does."""
    scale, shift = scale_and_shift(norm)
    moved = conv.weight[:, :, 0, 0] @ shift
    conv.bias = nn.Parameter(moved if conv.bias is None else moved + conv.bias, requires_grad=False)
    conv.weight.mul_(scale[None, :, None, None])


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return s and t of s u + t, by the running statistics."""
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("a norm without running statistics cannot be folded")
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale
