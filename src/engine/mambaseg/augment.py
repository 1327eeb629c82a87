"""Augmentation of a whole batch on its device: geometry, contrast, coil, resolution, noise, missing channels.

Normalised intensities have air at 0 and the head's median at 1 (`normalise`), so a gamma keeps both.
MONAI's transforms work on one sample at a time and would leave a GPU idle; its batched layers do the same here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from monai.networks.layers.simplelayers import GaussianFilter
from monai.networks.layers.spatial_transforms import AffineTransform
from torch import Tensor


class Augment:
    """Random changes of a batch, drawn from one generator so that a resumed run draws the same."""

    def __init__(
        self, patch: tuple[int, int], optional: Tensor, drop_optional: float, generator: torch.Generator
    ) -> None:
        self.patch, self.optional, self.drop_optional = patch, optional, drop_optional
        self.generator = generator
        self._image = AffineTransform(normalized=True, mode="bilinear", padding_mode="zeros", align_corners=False)
        self._blur = GaussianFilter(2, 1.3).to(generator.device)
        self._label = AffineTransform(normalized=True, mode="nearest", padding_mode="zeros", align_corners=False)

    def __call__(
        self, slices: Float[Tensor, "b s y x"], labels: Tensor, present: Float[Tensor, "b m"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return changed slices, labels and presence, cut to the patch."""
        theta = self._theta(len(slices), slices.shape[2:], slices.device)
        slices = self._image(slices, theta, spatial_size=self.patch)
        labels = self._label(labels.float(), theta, spatial_size=self.patch).to(torch.uint8)
        per_channel = slices.unflatten(1, (present.shape[1], -1))
        per_channel = self._noise(self._resolution(self._contrast(per_channel)))
        present = self._drop(present)
        return (per_channel * present[:, :, None, None, None]).flatten(1, 2), labels, present

    def _uniform(self, *shape: int, like: Tensor | torch.device, low: float = 0.0, high: float = 1.0) -> Tensor:
        device = like.device if isinstance(like, Tensor) else like
        return low + (high - low) * torch.rand(*shape, generator=self.generator, device=device)

    def _theta(self, batch: int, canvas: torch.Size, device: torch.device) -> Float[Tensor, "b 2 3"]:
        """Rotation, scale, shear, left-right flip and shift, as maps from the patch to the canvas in [-1, 1]."""
        angle = self._uniform(batch, low=-0.35, high=0.35, like=device)
        scale = torch.exp2(self._uniform(batch, 2, low=-0.15, high=0.15, like=device))
        scale = scale * torch.exp2(self._uniform(batch, 1, low=-0.35, high=0.35, like=device))
        flip = 1 - 2 * (self._uniform(batch, like=device) < 0.5).float()
        shear = self._uniform(batch, low=-0.1, high=0.1, like=device)
        cos, sin = torch.cos(angle), torch.sin(angle)
        turn = torch.stack([torch.stack([cos, -sin + shear], -1), torch.stack([sin, cos], -1)], -2)
        size = torch.tensor([self.patch, tuple(canvas)], dtype=torch.float32, device=device)
        linear = turn * scale[:, None, :] * (size[0][None, :] / size[1][:, None])
        linear = torch.stack([linear[..., 0], linear[..., 1] * flip[:, None]], -1)
        room = (1 - size[0] / size[1]).clamp(min=0) + 0.1
        shift = self._uniform(batch, 2, low=-1.0, high=1.0, like=device) * room
        return torch.cat([linear, shift[..., None]], dim=-1)

    def _contrast(self, u: Float[Tensor, "b m n y x"]) -> Float[Tensor, "b m n y x"]:
        """Gamma, brightness and a smooth coil profile, for each channel its own."""
        b, m = u.shape[:2]
        gamma = torch.exp(self._uniform(b, m, 1, 1, 1, low=-0.4, high=0.4, like=u))
        gain = torch.exp(self._uniform(b, m, 1, 1, 1, low=-0.25, high=0.25, like=u))
        coil = torch.randn(b, m, 4, 4, generator=self.generator, device=u.device) * 0.15
        coil = F.interpolate(coil, size=u.shape[3:], mode="bicubic", align_corners=False)
        return u.clamp(min=0).pow(gamma) * gain * torch.exp(coil)[:, :, None]

    def _resolution(self, u: Float[Tensor, "b m n y x"]) -> Float[Tensor, "b m n y x"]:
        """Blur half of the samples, each by a random mixture: one launch and no wait for the device."""
        weight = self._uniform(len(u), 1, 1, 1, 1, low=-1.0, high=1.0, like=u).clamp(min=0)
        return torch.lerp(u, self._blur(u.flatten(1, 2)).view_as(u), weight)

    def _noise(self, u: Float[Tensor, "b m n y x"]) -> Float[Tensor, "b m n y x"]:
        """Rician-like noise of a random strength."""
        strength = self._uniform(len(u), u.shape[1], 1, 1, 1, low=-0.06, high=0.12, like=u).clamp(min=0)
        noise = torch.randn(u.shape, generator=self.generator, device=u.device) * strength
        # Air was set to 0 in preparation and stays so.
        return torch.where(u > 0, (u + noise).abs(), u)

    def _drop(self, present: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """Lose optional channels: of the samples drawn, half lose all of them, half lose each with one half."""
        first = self._uniform(len(present), 1, like=present)
        each = self._uniform(*present.shape, like=present) < 0.5
        lost = (first < self.drop_optional) & self.optional & ((first < self.drop_optional / 2) | each)
        return present * (~lost).float()

