"""Score a network on whole prepared cases, as training goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mambaseg.predict import probabilities

if TYPE_CHECKING:
    from mambaseg.network import SegmentationNetwork
    from mambaseg.slice_bank import SliceBank


def validate(network: SegmentationNetwork, bank: SliceBank, optional: Tensor) -> dict[str, float]:
    """Mean per-patient Dice over whole stacks, with all channels and with the required ones alone."""
    network.eval()
    result = {}
    for name, keep in (("val_dice", torch.ones_like(optional)), ("val_dice_required_only", ~optional)):
        scores = []
        for place in bank.cases.values():
            overlap, size = torch.zeros((), device=optional.device), torch.zeros((), device=optional.device)
            for index in torch.arange(place.start, place.stop, device=optional.device).split(32):
                slices, labels, present = bank.batch(index, network.config.neighbours)
                present = present * keep.float()
                channels = slices.unflatten(1, (present.shape[1], -1)) * present[:, :, None, None, None]
                plane = slices.shape[2], slices.shape[3]
                found = probabilities(network, channels.flatten(1, 2), present, network.multiple, plane).argmax(1) > 0
                truth = labels[:, 0] > 0
                overlap, size = overlap + 2 * (found & truth).sum(), size + found.sum() + truth.sum()
            scores.append((overlap / size).nan_to_num(1.0))
        result[name] = torch.stack(scores).mean().item()
    return result
