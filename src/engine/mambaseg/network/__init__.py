"""The networks, by the name in their settings: `mambaseg-2d`, its twin without a scan, and those to compare it with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mambaseg.config import MambaSeg2dConfig, SeedMambaUNetConfig, SeedUNetConfig, Twin2dConfig
from mambaseg.network.mambaseg_2d import MambaSeg2d
from mambaseg.network.seed_mambaunet import SeedMambaUNet
from mambaseg.network.seed_unet import SeedUNet
from mambaseg.network.segmentation_network import SegmentationNetwork, parameter_count
from mambaseg.network.twin_2d import Twin2d
from mambaseg.network.unet import UNet

if TYPE_CHECKING:
    from mambaseg.config import NetworkConfig

__all__ = ["SegmentationNetwork", "build", "parameter_count"]


def build(config: NetworkConfig) -> SegmentationNetwork:
    """Return the network of `config` with fresh weights."""
    match config:
        case MambaSeg2dConfig():
            return MambaSeg2d(config)
        case Twin2dConfig():
            return Twin2d(config)
        case SeedUNetConfig():
            return SeedUNet(config)
        case SeedMambaUNetConfig():
            return SeedMambaUNet(config)
        case _:
            return UNet(config)
