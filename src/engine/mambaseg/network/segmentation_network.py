"""What every network is, to those who train it and to those who segment with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mambaseg.network.fold import fold_sequences

if TYPE_CHECKING:
    from mambaseg.config import NetworkConfig


class SegmentationNetwork(nn.Module, ABC):
    """A network of 2-D slices: slices and which channels exist in, logits out."""

    config: NetworkConfig

    @property
    @abstractmethod
    def multiple(self) -> int:
        """Rows and columns are padded to a multiple of this."""

    @property
    def dtype(self) -> torch.dtype:
        """What its convolutions compute in."""
        return next(self.parameters()).dtype

    def decaying(self) -> list[nn.Parameter]:
        """Return what weight decay holds small: weights of convolutions, no norms, biases, rates or steps of scans."""
        return [parameter for parameter in self.parameters() if parameter.ndim > 2]

    def fold_norms(self) -> None:
        """Fold norms into convolutions; from then on the network can only predict (`deploy`)."""
        fold_sequences(self)

    def assume(self, present: Float[Tensor, "m"]) -> None:
        """Take for granted which channels exist, in all that it will see; only after `fold_norms`."""

    @abstractmethod
    def use_back_end(self, name: str) -> None:
        """Run every scan on the back end `name`; "auto" is the default."""

    @abstractmethod
    def forward(
        self, slices: Float[Tensor, "b s y x"], present: Float[Tensor, "b m"]
    ) -> list[Float[Tensor, "b label _ _"]]:
        """Return logits, those at stride 1 first; coarser ones may follow while training.

        Parameters
        ----------
        slices
            Normalised intensities: for each channel the slices from below to above; s = channels x slices.
        present
            1 where a channel exists, else 0; a missing channel's slices are 0.
        """


def halved_between(widths: tuple[int, ...]) -> int:
    """Return the multiple of a network that halves its slices between any two widths."""
    return int(2 ** (len(widths) - 1))


def parameter_count(network: nn.Module) -> int:
    """Count every tensor that training moves: weights and the running statistics of norms."""
    moved = [*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())]
    return sum(tensor.numel() for tensor in moved)
