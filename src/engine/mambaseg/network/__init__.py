"""The networks, by the name in their settings: `mambaseg-2d`, and `unet` to compare it with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mambaseg.config import UNetConfig
from mambaseg.network.mambaseg_2d import MambaSeg2d
from mambaseg.network.segmentation_network import SegmentationNetwork, parameter_count
from mambaseg.network.unet import UNet

if TYPE_CHECKING:
    from mambaseg.config import NetworkConfig

__all__ = ["SegmentationNetwork", "build", "parameter_count"]


def build(config: NetworkConfig) -> SegmentationNetwork:
    """Return the network of `config` with fresh weights."""
    return UNet(config) if isinstance(config, UNetConfig) else MambaSeg2d(config)
