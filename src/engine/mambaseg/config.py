"""Frozen settings of every step; all of them travel inside a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from collections.abc import Callable


class Config(BaseModel):
    """Frozen, and a field that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SlicesConfig(Config):
    """What the settings of every network hold."""

    channels: int = Field(3, ge=1)
    """MRI channels."""
    labels: int = Field(1, ge=1)
    """Classes but background; one logit each."""
    neighbours: int = Field(0, ge=0)
    """Slices seen on either side of the one that is segmented."""


class UShapeConfig(SlicesConfig):
    """What `mambaseg-2d` and its twin have in common."""

    neighbours: int = Field(1, ge=0)
    widths: tuple[int, ...] = (16, 32, 64, 64, 112)
    """Feature channels at strides 1, 2, 4, ..."""
    depths: tuple[int, ...] = (1, 1, 2, 2, 2)
    """Encoder blocks at each stride."""
    scan_from: int = 3
    """The first stage whose blocks mix with the scan; those before mix with convolutions."""

    @model_validator(mode="after")
    def _stages_agree(self) -> UShapeConfig:
        if len(self.widths) != len(self.depths):
            raise ValueError(f"widths {self.widths} and depths {self.depths} must have the same length")
        return self


class MambaSeg2dConfig(UShapeConfig):
    """The network `mambaseg-2d`."""

    name: Literal["mambaseg-2d"] = "mambaseg-2d"
    state: int = 16
    """Size N of the scan's state."""
    head_dim: int = 16
    """Features that share one decay; divides the widths of the scanning stages."""

    @model_validator(mode="after")
    def _whole_heads(self) -> MambaSeg2dConfig:
        odd = [width for width in self.widths[self.scan_from :] if width % self.head_dim]
        if odd:
            raise ValueError(f"scanning stages have the widths {odd}; give multiples of head_dim {self.head_dim}")
        return self


class Twin2dConfig(UShapeConfig):
    """The network `twin-2d`: `mambaseg-2d` with a convolution where that scans."""

    name: Literal["twin-2d"] = "twin-2d"
    kernel: int = Field(7, ge=1)
    """Rows and columns of the depthwise convolution in the scan's place; odd."""

    @model_validator(mode="after")
    def _has_a_middle(self) -> Twin2dConfig:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} has no middle; give an odd one, such as {self.kernel + 1}")
        return self


class UNetConfig(SlicesConfig):
    """The network `unet`: the classic U-Net, to compare others with."""

    name: Literal["unet"] = "unet"
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Feature channels at strides 1, 2, 4, ..."""


class SeedUNetConfig(SlicesConfig):
    """The network `seed-unet`: the U-Net of the work that this project grew from."""

    name: Literal["seed-unet"] = "seed-unet"
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Feature channels at strides 1, 2, 4, ..."""


class SeedMambaUNetConfig(SlicesConfig):
    """The network `seed-mambaunet`: the Mamba network of the work that this project grew from."""

    name: Literal["seed-mambaunet"] = "seed-mambaunet"
    side: int = Field(256, ge=16, multiple_of=16)
    """Rows and columns of every slice: each of its patches of 16 x 16 pixels has a learned position."""
    width: int = Field(256, ge=16, multiple_of=16)
    """Features of a token."""
    depth: int = Field(6, ge=1)
    """Blocks."""
    state: int = Field(16, ge=1)
    """Size N of the scan's state."""


NetworkConfig: TypeAlias = Annotated[
    MambaSeg2dConfig | Twin2dConfig | UNetConfig | SeedUNetConfig | SeedMambaUNetConfig, Field(discriminator="name")
]
"""Settings of any network; `name` tells which."""
NETWORKS: dict[str, Callable[[], NetworkConfig]] = {
    "mambaseg-2d": MambaSeg2dConfig,
    "twin-2d": Twin2dConfig,
    "unet": UNetConfig,
    "seed-unet": SeedUNetConfig,
    "seed-mambaunet": SeedMambaUNetConfig,
}
"""Default settings of what can be trained, by name; the first is the default."""


class PrepareConfig(Config):
    """How a volume becomes what the network sees."""

    spacing_mm: float = Field(1.0, gt=0)
    """In-plane pixel size that the network was trained at."""
    keep_within: float = Field(1.6, ge=1)
    """In-plane sizes within this factor of `spacing_mm` are left as stored; others are resampled."""
    neighbour_mm: float = Field(5.0, gt=0)
    """Distance at which neighbouring slices are taken, rounded to whole slices, one at least."""
    margin_mm: float = Field(8.0, ge=0)
    """What stays around the head when empty margins are cropped away."""
    clip: float = Field(8.0, gt=0)
    """Normalised intensities are bounded by plus and minus this."""


class TrainConfig(Config):
    """One training run."""

    steps: int = Field(6300, ge=1)
    batch: int = Field(32, ge=1)
    patch: tuple[int, int] | None = None
    """Rows and columns of a training sample; None takes the largest slice of the data set."""
    learning_rate: float = Field(1.5e-3, gt=0)
    weight_decay: float = Field(0.02, ge=0)
    warm_up: float = Field(0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises; then it falls along a cosine to zero."""
    clip_norm: float = Field(1.0, gt=0)
    ema: float = Field(0.999, ge=0, lt=1)
    """Decay of the moving average of the weights; the average is what is saved and used."""
    foreground: float = Field(0.5, ge=0, le=1)
    """Share of samples that are drawn from slices with a label."""
    drop_optional: float = Field(0.5, ge=0, le=1)
    """Chance that a sample loses optional channels: half of these lose all of them."""
    deep_supervision: tuple[float, ...] = (1.0, 0.5, 0.25)
    """Loss weights of the outputs at strides 1, 2, 4."""
    checkpoint_every: int = Field(500, ge=1)
    """Steps between two states that --resume can go on from."""
    validate_every: int = Field(2100, ge=1)
    seed: int = 0
