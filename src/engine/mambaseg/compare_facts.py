"""What a model weighs and costs, apart from how well it does: numbers, bytes, operations, training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from mambaseg.checkpoint import WEIGHTS
from mambaseg.network import parameter_count

if TYPE_CHECKING:
    from mambaseg.compare_contenders import Contender
    from mambaseg.network import SegmentationNetwork

SIDE = 256


def facts(contender: Contender) -> dict[str, Any]:
    """Return what is known of a model without running it on a patient; its card's own scores are left out."""
    card, network = contender.checkpoint.card, contender.checkpoint.network()
    return {
        "name": contender.name,
        "network": card.network.name,
        "sha256": card.sha256,
        "parameters": parameter_count(network),
        "learnable_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "bytes": (contender.folder / WEIGHTS).stat().st_size,
        "flops_256": slice_flops(network),
        "training_seconds": card.training.get("seconds"),
        "training_device": card.training.get("device"),
        "training_data": card.training_data,
        "recipe_sha256": card.training.get("recipe_sha256"),
    }


def slice_flops(network: SegmentationNetwork) -> int:
    """Return the floating point operations of one 256 x 256 slice: those of matrix products and convolutions.

    torch counts a multiplication and an addition as two, and nothing of what works element by element. The scan is
    the back end `torch`, on the CPU: kernels of our own are invisible to the counter.
    """
    config = network.config
    slices = torch.zeros(1, config.channels * (2 * config.neighbours + 1), SIDE, SIDE)
    network.use_back_end("torch")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(slices, torch.ones(1, config.channels))
    return int(counter.get_total_flops())
