"""Run a network over prepared slices, batch by batch, and turn logits into probabilities.

The background's logit is 0, so that one label is a sigmoid and several are a softmax, by one rule.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

if TYPE_CHECKING:
    from mambaseg.network import SegmentationNetwork

N = TypeVar("N", bound=nn.Module)


def channels_last(network: N) -> N:
    """Lay the weights out as convolutions like them best, on every device."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it for modules
    return network


def with_background(logits: Float[Tensor, "b label y x"]) -> Float[Tensor, "b class y x"]:
    """Put the background's logit, 0, in front."""
    return F.pad(logits, (0, 0, 0, 0, 1, 0))


def precision(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 outside the scan on CUDA; float32 elsewhere, where it is faster or the only choice."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def pad_to(slices: Float[Tensor, "b s y x"], multiple: int) -> Float[Tensor, "b s row column"]:
    """Pad rows and columns with air (0) to a multiple."""
    return F.pad(slices, (0, -slices.shape[-1] % multiple, 0, -slices.shape[-2] % multiple))


def probabilities(
    network: SegmentationNetwork | nn.Module, slices: Tensor, present: Tensor, multiple: int, plane: tuple[int, int]
) -> Float[Tensor, "b class y x"]:
    """Return probabilities of one batch on slices of `plane` pixels.

    Parameters
    ----------
    network
        In evaluation mode, on the device of `slices`.
    slices
        [b s y x]: for each channel a slice and its neighbours.
    present
        [b channel].
    multiple
        Rows and columns are padded to a multiple of this.
    plane
        Rows and columns of the result; logits are resized to it where slices were resampled.
    """
    rows, columns = slices.shape[-2:]
    with torch.inference_mode(), precision(slices.device):
        padded = pad_to(slices, multiple).to(memory_format=torch.channels_last)
        logits = network(padded, present)[0][..., :rows, :columns].float()
        if (rows, columns) != plane:
            logits = F.interpolate(logits, size=plane, mode="bilinear", align_corners=False)
        return with_background(logits).softmax(dim=1)
