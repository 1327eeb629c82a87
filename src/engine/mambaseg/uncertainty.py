"""How unsure a network is of each voxel."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

CHANNEL = "uncertainty"


def uncertainty(probabilities: Float[Tensor, "b class y x"]) -> Float[Tensor, "b y x"]:
    """Return the entropy of the class probabilities as a share of the largest possible: 0 sure, 1 all classes alike."""
    with torch.inference_mode():
        entropy = torch.special.entr(probabilities).sum(dim=1)
        share: Tensor = (entropy / math.log(probabilities.shape[1])).clamp(0, 1)
        return share
