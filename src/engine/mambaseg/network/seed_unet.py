"""`seed-unet`: the U-Net of 7.7 million weights that the work this project grew from compared its Mamba network with.

It is `unet` with four widths, 64 to 512, biases in its convolutions, and each norm behind the ReLU. Such a norm cannot
be folded: the next convolution pads with zeros that lie behind it.
"""

from __future__ import annotations

from torch import nn

from mambaseg.network.unet import UNet


class SeedUNet(UNet):
    """U-Net whose norms follow the ReLU."""

    def _conv(self, before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(after)]
