"""How tissues look: one brightness per tissue and channel, then bias, blur and noise of a scanner."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mambaseg.synthetic.fields import Box, Chance, FloatArray, Grid


class Tissue(Enum):
    """What a synthetic head is made of."""

    AIR = "air"
    SKIN = "skin"
    FAT = "fat"
    MUSCLE = "muscle"
    BONE = "bone"
    MARROW = "marrow"
    MUCOSA = "mucosa"
    EYE = "eye"
    CSF = "csf"
    WHITE = "white matter"
    GREY = "grey matter"
    NUCLEUS = "deep grey nucleus"
    PALLIDUM = "pallidum"
    CEREBELLUM = "cerebellar cortex"
    FALX = "falx and meninges"
    VEIN = "sinus or vein"
    PLEXUS = "choroid plexus"
    RIM = "tissue around the ventricles"
    TUMOUR = "tumour"
    ENHANCING = "enhancing tumour"


CHANNELS = ("flair", "t1", "t1c")
"""The channels that can be drawn, in the order of the table."""

BRIGHTNESS: Mapping[Tissue, tuple[float, float, float]] = MappingProxyType({
    # FLAIR, T1, T1 post contrast; white matter is 1. Set by eye and by percentiles against low-grade glioma MRI.
    Tissue.AIR: (0.00, 0.00, 0.00),
    Tissue.SKIN: (1.05, 1.15, 1.25),
    Tissue.FAT: (2.10, 2.30, 2.10),
    Tissue.MUSCLE: (0.55, 0.68, 0.85),
    Tissue.BONE: (0.12, 0.14, 0.16),
    Tissue.MARROW: (1.05, 1.45, 1.40),
    Tissue.MUCOSA: (1.20, 0.80, 1.60),
    Tissue.EYE: (0.22, 0.42, 0.42),
    Tissue.CSF: (0.20, 0.34, 0.34),
    Tissue.WHITE: (1.00, 1.00, 1.00),
    Tissue.GREY: (1.13, 0.78, 0.81),
    Tissue.NUCLEUS: (1.08, 0.85, 0.87),
    Tissue.PALLIDUM: (0.84, 0.93, 0.94),
    Tissue.CEREBELLUM: (1.10, 0.84, 0.86),
    Tissue.FALX: (0.55, 0.55, 1.30),
    Tissue.VEIN: (0.25, 0.45, 1.90),
    Tissue.PLEXUS: (0.95, 0.60, 1.50),
    Tissue.RIM: (1.22, 0.92, 0.92),
    Tissue.TUMOUR: (1.85, 0.70, 0.72),
    Tissue.ENHANCING: (1.75, 0.80, 1.65),
})

# How much a tissue's brightness differs from head to head and scanner to scanner (deviation of its logarithm).
SPREAD = 0.04
NOISE = (0.030, 0.022, 0.022)
BIAS = 0.09
UNITS = (180.0, 900.0)
"""White matter lies in this range, in arbitrary units that differ by channel as they do on scanners."""


class Canvas:
    """The channels being painted on the fine grid, one tissue over another."""

    def __init__(self, grid: Grid, channels: Sequence[str], chance: Chance) -> None:
        """Start with air."""
        shape = tuple(len(axis) for axis in grid.axes)
        self._grid, self._chance, self._channels = grid, chance, tuple(channels)
        self._images = [np.zeros(shape, np.float32) for _ in channels]

    def paint(
        self, tissue: Tissue, share: FloatArray, box: Box | None = None, texture: FloatArray | None = None
    ) -> None:
        """Lay `tissue` over what is there, where and as far as `share` (0 to 1) says.

        Parameters
        ----------
        tissue
            What to paint.
        share
            Share of each fine point that the tissue takes, in the shape of `box`.
        box
            Part of the grid; all of it by default.
        texture
            Factor on the brightness, in the shape of `box`.
        """
        where = box or (slice(None),) * 3
        for name, image in zip(self._channels, self._images, strict=True):
            part, value = image[where], np.float32(self._brightness(tissue, name))
            part += share * ((value if texture is None else value * texture) - part)

    def scanned(self) -> FloatArray:
        """Return the channels as a scanner would: averaged to voxels, blurred, biased, noisy, in arbitrary units."""
        return np.stack([self._scan(n, i) for n, i in zip(self._channels, self._images, strict=True)])

    def _brightness(self, tissue: Tissue, channel: str) -> float:
        spread = float(self._chance.stream(f"brightness {tissue.value} {channel}").standard_normal())
        factor = 1.0 if tissue is Tissue.WHITE else float(np.exp(SPREAD * spread))
        return BRIGHTNESS[tissue][CHANNELS.index(channel)] * factor

    def _scan(self, channel: str, fine: FloatArray) -> FloatArray:
        grid, noise = self._grid, NOISE[CHANNELS.index(channel)]
        coils = self._chance.lattice(f"bias {channel}", 75.0).on(grid)
        image = grid.to_voxels(fine * np.exp(np.float32(BIAS) * coils))
        for axis, (coordinates, parts) in enumerate(zip(grid.axes, grid.per_voxel, strict=True)):
            step = abs(float(coordinates[1] - coordinates[0])) * parts
            # Thick slices have no sharp profile, and thin voxels are finer than what a scan resolves.
            image = ndimage.gaussian_filter1d(image, 0.35 if step > 3 else 0.45 / step, axis=axis)
        draws = self._chance.stream(f"noise {channel}").standard_normal((2, *image.shape), dtype=np.float32)
        image = np.hypot(image + np.float32(noise) * draws[0], np.float32(noise) * draws[1])
        scanned: FloatArray = image * np.float32(self._chance.between(f"units {channel}", *UNITS))
        return scanned
