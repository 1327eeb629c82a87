"""`unet`: the classic U-Net of 2-D slices (Ronneberger et al., arXiv 1505.04597) with batch norm, to compare others to.

    width    contracting path                    expanding path
    32       block ──────────── skip ─────────── block ─ 1x1 convolution: logits
    64         block ────────── skip ───────── block
    128          block ──────── skip ─────── block
    256            block ────── skip ───── block
    512              block ───────────────┘

A block is two 3x3 convolutions, each with batch norm and ReLU; 2x2 max pooling leads down, a 2x2 transposed
convolution leads up, and what the skip carries is joined to it.

Shapes: b batch, c features, y x rows and columns.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mambaseg.network.segmentation_network import SegmentationNetwork, halved_between

if TYPE_CHECKING:
    from mambaseg.config import SeedUNetConfig, UNetConfig


class UNet(SegmentationNetwork):
    """U-Net; it has no scan, and a missing channel is nothing but zeros to it."""

    config: UNetConfig | SeedUNetConfig

    def __init__(self, config: UNetConfig | SeedUNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        seen = config.channels * (2 * config.neighbours + 1)
        self.contract = nn.ModuleList(self._block(before, after) for before, after in pairwise((seen, *widths)))
        self.pool = nn.MaxPool2d(2)
        steps = list(pairwise(reversed(widths)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in steps)
        self.expand = nn.ModuleList(self._block(2 * fine, fine) for _, fine in steps)
        self.head = nn.Conv2d(widths[0], config.labels, 1)

    @property
    def multiple(self) -> int:
        """Rows and columns are padded to a multiple of this: the slices are halved between any two widths."""
        return halved_between(self.config.widths)

    def use_back_end(self, name: str) -> None:
        """Do nothing: there is no scan."""

    def forward(
        self, slices: Float[Tensor, "b s y x"], present: Float[Tensor, "b m"]
    ) -> list[Float[Tensor, "b label y x"]]:
        """Return logits at stride 1, while training too."""
        u, skips = self.contract[0](slices), []
        for block in self.contract[1:]:
            skips.append(u)
            u = block(self.pool(u))
        for up, block in zip(self.up, self.expand, strict=True):
            u = block(torch.cat([skips.pop(), up(u)], dim=1))
        return [self.head(u)]

    def _block(self, before: int, after: int) -> nn.Sequential:
        """Two 3x3 convolutions, each with norm and ReLU."""
        return nn.Sequential(*self._conv(before, after), *self._conv(after, after))

    def _conv(self, before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
