"""A checkpoint: weights with all that is needed to use them. On disk: model.safetensors and model.json, no pickle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from mambaseg.atomic import replacing
from mambaseg.card import CARD, Card, read_card
from mambaseg.errors import ModelError
from mambaseg.network import SegmentationNetwork, build, parameter_count

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

WEIGHTS = "model.safetensors"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model that can be used as it is: `segment(volume, checkpoint)` needs nothing else."""

    card: Card
    weights: Mapping[str, Tensor]
    path: Path | None = None

    @property
    def title(self) -> str:
        """Name and version, as people read them."""
        return f"{self.card.name} {self.card.version}"

    def network(self) -> SegmentationNetwork:
        """Return the network with these weights, ready to predict."""
        network = build(self.card.network)
        network.load_state_dict(dict(self.weights), strict=True)
        return network.eval()


def make_checkpoint(card: Card, network: SegmentationNetwork) -> Checkpoint:
    """Return a checkpoint of a network; parameters and hash are filled in from its tensors."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    filled = card.model_copy(
        update={"parameters": parameter_count(network), "sha256": hashlib.sha256(save_tensors(weights)).hexdigest()}
    )
    return Checkpoint(filled, weights)


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """Write a checkpoint into `folder`, each file whole or not at all; the card, which vouches, comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    data = save_tensors(dict(checkpoint.weights))
    card = checkpoint.card.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
    with replacing(folder / WEIGHTS) as temporary:
        temporary.write_bytes(data)
    with replacing(folder / CARD) as temporary:
        temporary.write_text(json.dumps(card.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
    return replace(checkpoint, card=card, path=folder)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint and check its weights against the hash in its card.

    Raises
    ------
    ModelError
        If a file is missing, damaged, or the weights do not fit the network.
    """
    card = read_card(folder)
    try:
        data = (folder / WEIGHTS).read_bytes()
    except OSError:
        raise ModelError(f"{folder} holds no {WEIGHTS}; install the model again") from None
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise ModelError(
            f"the weights of {card.name} {card.version} are damaged: their SHA-256 is {found[:12]}…, the card says "
            f"{card.sha256[:12]}…; install the model again"
        )
    try:
        checkpoint = Checkpoint(card, load_tensors(data), folder)
        checkpoint.network()
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"the weights in {folder} do not fit their card ({reason}); install the model again") from None
    return checkpoint
