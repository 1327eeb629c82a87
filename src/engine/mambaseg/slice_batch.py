"""The network's input: a batch of slices with their neighbours, in memory that is filled again for each batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

if TYPE_CHECKING:
    from mambaseg.prepare import Prepared


class SliceBatch:
    """Slices with their neighbours, [size channel*(2n+1) row column], and which channels exist, [size channel].

    Padded rows and columns are air (0), and so are channels that do not exist.
    """

    def __init__(
        self,
        size: int,
        plane: tuple[int, int],
        channels: int,
        neighbours: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._neighbours = torch.arange(-neighbours, neighbours + 1, device=device)
        planes = channels * len(self._neighbours)
        lying = torch.zeros(size, *plane, planes, dtype=dtype, device=device)
        self.slices = lying.permute(0, 3, 1, 2)  # Channels come last in memory, as convolutions like them best.
        self.present = torch.zeros(size, channels, device=device)
        self._filled: object = None
        """Of what the rest is 0."""

    def fill(self, prepared: Prepared, index: Int[Tensor, "b"]) -> None:
        """Take the slices `index`; at the border a slice is its own neighbour. What lies behind them stays."""
        rows, columns = prepared.slices.shape[2:]
        if self._filled != (prepared.given, rows, columns):
            self.slices.zero_()
            self.present[:] = prepared.present
            self._filled = prepared.given, rows, columns
        wanted = (index[:, None] + self._neighbours * prepared.step).clamp(0, prepared.slices.shape[1] - 1)
        target = self.slices[: len(index), :, :rows, :columns].unflatten(1, (-1, len(self._neighbours)))
        for slices, channel in zip(prepared.slices, prepared.given, strict=True):
            target[:, channel] = slices[wanted]
