"""`mambaseg-2d` segments one axial slice with the help of its neighbours, at any slice size.

    stride   encoder                                decoder
    1        stem: 3x3 convolutions ─────────────── 3x3 convolution ─ head
    2          residual 3x3 block ───────────────── + residual 3x3 block ─ head (training)
    4            depthwise 7x7 blocks ───────────── + depthwise 7x7 block ─ head (training)
    8              scan blocks ──────────────────── + depthwise 7x7 block
    16               scan blocks ───────────────────┘

A scan block is Mamba-2's mixer without its causal convolution: a 3x3 depthwise convolution sees both sides
(UlikeMamba, arXiv 2503.19308), and the slice is scanned forwards and backwards with shared projections, by rows in
one block and by columns in the next.

Shapes: b batch, c features, y x rows and columns, l = y x tokens, h heads, p head_dim, n state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mambaseg.network.fold import fold_after, fold_before, fold_sequences, scale_and_shift
from mambaseg.network.segmentation_network import SegmentationNetwork, halved_between
from mambaseg.scan import scan_ways

if TYPE_CHECKING:
    from collections.abc import Callable

    from mambaseg.config import MambaSeg2dConfig, Twin2dConfig


class GatedMixer(nn.Module):
    """A mixer whose first step, `enter`, is pointwise."""

    enter: nn.Conv2d


class ScanMixer(GatedMixer):
    """Mix all tokens of a slice by a state space scan in two directions."""

    def __init__(self, width: int, config: MambaSeg2dConfig, by_columns: bool) -> None:
        super().__init__()
        self.width, self.state, self.by_columns = width, config.state, by_columns
        self.heads, self.head_dim = width // config.head_dim, config.head_dim
        self.backend = "auto"
        mixed = width + 2 * config.state
        self.enter = nn.Conv2d(width, width + mixed + 2 * self.heads, 1, bias=False)
        self.local = nn.Conv2d(mixed, mixed, 3, padding=1, groups=mixed)
        # Decay rates from 1 to 16 and time steps around 0.001 to 0.1, as in Mamba-2.
        self.log_rate = nn.Parameter(torch.log(torch.linspace(1, 16, self.heads)).repeat(2, 1))
        steps = torch.exp(torch.linspace(-6.9, -2.3, self.heads)).repeat(2, 1)
        self.step_bias = nn.Parameter(torch.log(torch.expm1(steps)))
        self.direct = nn.Parameter(torch.ones(self.heads))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, u: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """Return the mixed features."""
        c, rows, columns = u.shape[1:]
        gate, mixed, dt = self.enter(u).split([c, c + 2 * self.state, 2 * self.heads], dim=1)
        tokens = self._in_order(F.silu(self._local(mixed)))  # b l c+2n
        dt = self._in_order(dt).float().unflatten(-1, (2, self.heads))  # b l 2 h
        dt = F.softplus(dt + self.step_bias.float())
        x, B, C = tokens.split([c, self.state, self.state], dim=-1)
        x = x.unflatten(-1, (self.heads, self.head_dim))  # b l h p
        rate = -torch.exp(self.log_rate.float())  # 2 h
        y = scan_ways(x, dt, rate, B, C, (False, True), self.backend)
        y = y + self.direct[:, None].to(x.dtype) * x
        y = self._on_grid(self.norm(y.flatten(2)), rows, columns)
        out: Tensor = self.leave(y.to(gate.dtype) * F.silu(gate))
        return out

    def _local(self, mixed: Float[Tensor, "b m y x"]) -> Float[Tensor, "b m y x"]:
        """Mix 3x3 neighbours; the first axis of the kernel runs along the lines that are scanned."""
        weight = self.local.weight.transpose(2, 3) if self.by_columns else self.local.weight
        out: Tensor = F.conv2d(mixed, weight, self.local.bias, padding=1, groups=self.local.groups)
        return out

    def _in_order(self, u: Float[Tensor, "b m y x"]) -> Float[Tensor, "b l m"]:
        """Line up pixels as they are scanned; a view where lines are rows and channels come last in memory."""
        return (u.permute(0, 3, 2, 1) if self.by_columns else u.permute(0, 2, 3, 1)).flatten(1, 2)

    def _on_grid(self, tokens: Float[Tensor, "b l c"], rows: int, columns: int) -> Float[Tensor, "b c y x"]:
        """Put tokens back where they were."""
        shape, order = ((columns, rows), (0, 3, 2, 1)) if self.by_columns else ((rows, columns), (0, 3, 1, 2))
        return tokens.view(len(tokens), *shape, -1).permute(order)


class Block(nn.Module):
    """Mix over the slice, then over the features; each a residual step."""

    def __init__(self, width: int, mixer: nn.Module) -> None:
        super().__init__()
        self.norm_mixer: nn.Module = nn.BatchNorm2d(width)
        self.mixer = mixer
        self.features = nn.Sequential(
            nn.BatchNorm2d(width), nn.Conv2d(width, 2 * width, 1), nn.GELU(), nn.Conv2d(2 * width, width, 1)
        )

    def forward(self, u: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """Return features of the same shape."""
        u = u + self.mixer(self.norm_mixer(u))
        out: Tensor = u + self.features(u)
        return out

    def fold_norms(self) -> None:
        """Let the mixer's first step, if it is pointwise, do what the norm before it does."""
        if isinstance(self.mixer, GatedMixer) and isinstance(self.norm_mixer, nn.BatchNorm2d):
            fold_before(self.norm_mixer, self.mixer.enter)
            self.norm_mixer = nn.Identity()


class Residual(nn.Module):
    """Two 3x3 convolutions: at fine strides they hold the edges and cost few parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(width, width), nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))

    def forward(self, u: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """Return features of the same shape."""
        out: Tensor = self.body(u).add_(u).relu_()
        return out


def _conv(before: int, after: int) -> list[nn.Module]:
    """A 3x3 convolution with norm and ReLU."""
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


class UShape(SegmentationNetwork):
    """U-shaped network of 2-D slices, whatever mixes its features at strides 8 and 16.

    Parameters
    ----------
    config
        Its settings.
    mixer
        Makes what mixes there, given the width and whether a block is the second, fourth, ... of its stage.
    """

    config: MambaSeg2dConfig | Twin2dConfig

    def __init__(self, config: MambaSeg2dConfig | Twin2dConfig, mixer: Callable[[int, bool], GatedMixer]) -> None:
        super().__init__()
        self.config = config
        widths, slices = config.widths, 2 * config.neighbours + 1
        self.stem = nn.Sequential(nn.Conv2d(config.channels * slices, widths[0], 3, padding=1, bias=False))
        self.present: nn.Linear | None = nn.Linear(config.channels, widths[0], bias=False)
        self.fine = nn.Sequential(nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True), *_conv(widths[0], widths[0]))
        self.encoder, self.down = nn.ModuleList(), nn.ModuleList()
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        for stage in range(1, len(widths)):
            self.down.append(nn.Conv2d(widths[stage - 1], widths[stage], 2, stride=2))
            blocks = [_block(config, mixer, stage, number) for number in range(config.depths[stage])]
            self.encoder.append(nn.Sequential(*blocks))
        for stage in range(len(widths) - 2, 0, -1):
            self.up.append(nn.Conv2d(widths[stage + 1], widths[stage], 1))
            self.decoder.append(Residual(widths[stage]) if stage == 1 else _depthwise(widths[stage]))
        self.up.append(nn.Conv2d(widths[1], widths[0], 1))
        self.decoder.append(nn.Sequential(*_conv(widths[0], widths[0])))
        self.heads = nn.ModuleList(nn.Conv2d(width, config.labels, 1) for width in widths[:3])

    @property
    def multiple(self) -> int:
        """Rows and columns are padded to a multiple of this: the slices are halved between any two widths."""
        return halved_between(self.config.widths)

    def use_back_end(self, name: str) -> None:
        """Run every scan on the back end `name`; "auto" is the default."""
        for module in self.modules():
            if isinstance(module, ScanMixer):
                module.backend = name

    def fold_norms(self) -> None:
        """Fold norms into convolutions; the first one also scales what is said of missing channels."""
        fold_sequences(self)
        for module in self.modules():
            if isinstance(module, Block):
                module.fold_norms()
        stem, first = self.stem[0], self.fine[0]
        if isinstance(stem, nn.Conv2d) and isinstance(first, nn.BatchNorm2d):
            fold_after(stem, first)
            if self.present is not None:
                self.present.weight.mul_(scale_and_shift(first)[0][:, None])
            self.fine[0] = nn.Identity()

    def assume(self, present: Tensor) -> None:
        """Put what is said of missing channels into the bias of the first convolution."""
        stem = self.stem[0]
        if self.present is None or not isinstance(stem, nn.Conv2d) or stem.bias is None:
            raise TypeError("norms must be folded first, and channels can be assumed once")
        stem.bias.add_(self.present(present.to(stem.bias)))
        self.present = None
        self.stem, self.fine = nn.Sequential(stem, self.fine[1]), nn.Sequential(*list(self.fine)[2:])

    def forward(
        self, slices: Float[Tensor, "b s y x"], present: Float[Tensor, "b m"]
    ) -> list[Float[Tensor, "b label _ _"]]:
        """Return logits at strides 1, 2 and 4 while training, else at stride 1 only."""
        u = self.stem(slices)
        if self.present is not None:
            u = u + self.present(present.to(u.dtype))[:, :, None, None]
        u = self.fine(u)
        skips = []
        for down, encode in zip(self.down, self.encoder, strict=True):
            skips.append(u)
            u = encode(down(u))
        logits: list[Tensor] = []
        for step, (up, decode) in enumerate(zip(self.up, self.decoder, strict=True)):
            u = decode(_add_enlarged(skips.pop(), up(u)))
            stage = len(self.up) - 1 - step
            if stage == 0 or (self.training and stage < len(self.heads)):
                logits.insert(0, self.heads[stage](u))
        return logits


def _add_enlarged(fine: Float[Tensor, "b c y x"], coarse: Float[Tensor, "b c _ _"]) -> Float[Tensor, "b c y x"]:
    """Add each pixel of `coarse` to the 2 x 2 of `fine` that it covers: nearest neighbour without writing it down."""
    pairs = fine.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # b c y 2 x 2
    summed: Tensor = pairs + coarse[:, :, :, None, :, None]
    return summed.flatten(4).flatten(2, 3)


def _depthwise(width: int) -> Block:
    """A block that mixes with a 7x7 depthwise convolution."""
    return Block(width, nn.Conv2d(width, width, 7, padding=3, groups=width))


def _block(
    config: MambaSeg2dConfig | Twin2dConfig, mixer: Callable[[int, bool], GatedMixer], stage: int, number: int
) -> nn.Module:
    """The encoder block of a stage."""
    width = config.widths[stage]
    if stage >= config.scan_from:
        return Block(width, mixer(width, bool(number % 2)))
    return Residual(width) if stage == 1 else _depthwise(width)


class MambaSeg2d(UShape):
    """U-shaped network with a scan at strides 8 and 16."""

    config: MambaSeg2dConfig

    def __init__(self, config: MambaSeg2dConfig) -> None:
        super().__init__(config, lambda width, by_columns: ScanMixer(width, config, by_columns))
