"""`twin-2d`: `mambaseg-2d` with a convolution where that scans, to learn what the scan is worth.

All else is the same network: gate, local 3x3 depthwise convolution, norm and both pointwise convolutions stay, and a
7x7 depthwise convolution takes the scan's place, which makes both almost equally large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mambaseg.network.mambaseg_2d import GatedMixer, UShape

if TYPE_CHECKING:
    from mambaseg.config import Twin2dConfig


class ConvolutionMixer(GatedMixer):
    """Mix pixels that lie near each other by depthwise convolutions, behind a gate."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(width, 2 * width, 1, bias=False)
        self.local = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.wide = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, u: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """Return the mixed features."""
        gate, mixed = self.enter(u).chunk(2, dim=1)
        mixed = self.wide(F.silu(self.local(mixed)))
        mixed = self.norm(mixed.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        out: Tensor = self.leave(mixed.to(gate.dtype) * F.silu(gate))
        return out


class Twin2d(UShape):
    """U-shaped network without a scan."""

    config: Twin2dConfig

    def __init__(self, config: Twin2dConfig) -> None:
        super().__init__(config, lambda width, by_columns: ConvolutionMixer(width, config.kernel))
