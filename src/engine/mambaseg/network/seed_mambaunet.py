"""`seed-mambaunet`: the Mamba network of the work that this project grew from, written anew from its description.

    stride   path
    16       16x16 patches ── + position ── Mamba blocks ── joined ── 2x2 transposed convolutions, to stride 1 ── logits
                          └─────────── 1x1 convolution ───────┘

A token is a patch of 16 x 16 pixels. Mamba-1's mixer (Gu & Dao, arXiv 2312.00752) reads tokens row by row, in one
direction: what lies below and to the right is never seen. Every token has a learned position, so slices have one size;
smaller ones are laid in the middle of it, where heads were when the positions were learned.

Shapes: b batch, c features, d = 2c, y x rows and columns, l tokens, n state, r rank of the time steps.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mambaseg.errors import VolumeError
from mambaseg.network.segmentation_network import SegmentationNetwork
from mambaseg.scan import selective

if TYPE_CHECKING:
    from mambaseg.config import SeedMambaUNetConfig

PATCH = 16
DROPOUT = 0.1


class MambaMixer(nn.Module):
    """Mamba-1's mixer."""

    def __init__(self, width: int, state: int) -> None:
        super().__init__()
        inner, rank = 2 * width, math.ceil(width / 16)
        self.backend = "auto"
        self.parts = [rank, state, state]
        self.enter = nn.Linear(width, 2 * inner, bias=False)
        self.local = nn.Conv1d(inner, inner, 4, padding=3, groups=inner)
        self.select = nn.Linear(inner, rank + 2 * state, bias=False)
        self.step = nn.Linear(rank, inner)
        # Decay rates 1, 2, ... of the states and time steps from 0.001 to 0.1, as in Mamba.
        self.log_rate = nn.Parameter(torch.log(torch.arange(1.0, state + 1)).repeat(inner, 1))
        nn.init.uniform_(self.step.weight, -(rank**-0.5), rank**-0.5)
        steps = torch.exp(torch.empty(inner).uniform_(math.log(1e-3), math.log(0.1)))
        self.step.bias = nn.Parameter(torch.log(torch.expm1(steps)))
        self.direct = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, width, bias=False)

    def forward(self, tokens: Float[Tensor, "b l c"]) -> Float[Tensor, "b l c"]:
        """Return the mixed features; a token sees itself and those before it."""
        x, gate = self.enter(tokens).transpose(1, 2).chunk(2, dim=1)  # b d l
        x = F.silu(self.local(x)[..., : tokens.shape[1]])
        steps, B, C = self.select(x.transpose(1, 2)).split(self.parts, dim=-1)  # b l r, b l n, b l n
        y = selective.selective_scan(
            x,
            F.linear(steps, self.step.weight).transpose(1, 2),
            -torch.exp(self.log_rate.float()),
            B.transpose(1, 2),
            C.transpose(1, 2),
            self.direct,
            gate,
            self.step.bias.float(),
            delta_softplus=True,
            backend=self.backend,
            look_for_nan=False,
        )
        out: Tensor = self.leave(y.transpose(1, 2))
        return out


class MambaBlock(nn.Module):
    """Norm, mixer and dropout; a residual step."""

    def __init__(self, width: int, state: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LayerNorm(width), MambaMixer(width, state), nn.Dropout(DROPOUT))

    def forward(self, tokens: Float[Tensor, "b l c"]) -> Float[Tensor, "b l c"]:
        """Return tokens of the same shape."""
        out: Tensor = tokens + self.body(tokens)
        return out


class SeedMambaUNet(SegmentationNetwork):
    """Mamba blocks over patches, with one skip; a missing channel is nothing but zeros to it."""

    config: SeedMambaUNetConfig

    def __init__(self, config: SeedMambaUNetConfig) -> None:
        super().__init__()
        self.config = config
        width, seen = config.width, config.channels * (2 * config.neighbours + 1)
        self.patches = nn.Sequential(nn.Conv2d(seen, width, PATCH, stride=PATCH), *_norm(width))
        self.position = nn.Embedding((config.side // PATCH) ** 2, width)
        nn.init.trunc_normal_(self.position.weight, std=0.02)
        self.blocks = nn.Sequential(*(MambaBlock(width, config.state) for _ in range(config.depth)))
        self.drop = nn.Dropout(DROPOUT)
        self.skip = nn.Sequential(nn.Conv2d(width, width // 2, 1), *_norm(width // 2))
        widths = [width + width // 2, *(width // 2**halving for halving in range(1, 5))]
        steps = [[nn.ConvTranspose2d(one, other, 2, stride=2), *_norm(other)] for one, other in pairwise(widths)]
        self.enlarge = nn.Sequential(*(module for step in steps for module in step))
        self.head = nn.Conv2d(widths[-1], config.labels, 1)

    @property
    def multiple(self) -> int:
        """Rows and columns are padded to a multiple of this, and to the one size there is in `forward`."""
        return PATCH

    def use_back_end(self, name: str) -> None:
        """Run every scan on the back end `name`; one that has no selective scan means "auto"."""
        for module in self.modules():
            if isinstance(module, MambaMixer):
                module.backend = name if name in selective.BACK_ENDS else "auto"

    def decaying(self) -> list[nn.Parameter]:
        """Return what weight decay holds small: weights of convolutions and linear layers."""
        kinds = nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear
        held = {id(module.weight) for module in self.modules() if isinstance(module, kinds)}
        return [parameter for parameter in self.parameters() if id(parameter) in held]

    def forward(
        self, slices: Float[Tensor, "b s y x"], present: Float[Tensor, "b m"]
    ) -> list[Float[Tensor, "b label y x"]]:
        """Return logits at stride 1, while training too.

        Raises
        ------
        VolumeError
            If slices are larger than the one size that it knows.
        """
        side, (rows, columns) = self.config.side, slices.shape[2:]
        if max(rows, columns) > side:
            raise VolumeError(
                f"{self.config.name} knows slices of up to {side} x {side} pixels, and these have {rows} x {columns}; "
                "resample them to larger pixels, or take another network"
            )
        top, left = (side - rows) // 2, (side - columns) // 2
        patches = self.patches(F.pad(slices, (left, side - columns - left, top, side - rows - top)))  # b c y x
        tokens = patches.flatten(2).transpose(1, 2) + self.position.weight.to(patches.dtype)
        grid = self.drop(self.blocks(tokens)).transpose(1, 2).view_as(patches)
        logits = self.head(self.enlarge(torch.cat([grid, self.skip(patches)], dim=1)))
        return [logits[..., top : top + rows, left : left + columns]]


def _norm(width: int) -> list[nn.Module]:
    """Norm and ReLU."""
    return [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
