"""What a model says of itself: model.json, read without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from mambaseg.config import Config, NetworkConfig, PrepareConfig
from mambaseg.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

CARD = "model.json"


class Channel(Config):
    """One input of a model."""

    name: str
    required: bool = True


class LabelSpec(Config):
    """One output of a model."""

    value: int
    name: str
    color: str = "#e69f00"


class Card(Config):
    """What model.json says."""

    name: str
    version: str
    network: NetworkConfig
    prepare: PrepareConfig
    channels: tuple[Channel, ...]
    labels: tuple[LabelSpec, ...]
    parameters: int
    """Counted over all tensors that training moves."""
    sha256: str = ""
    """Of model.safetensors."""
    description: str = ""
    training_data: str = ""
    licence: str = ""
    parent: str | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    """Configuration, seeds, versions and duration of the run that made the weights."""
    metrics: dict[str, Any] = Field(default_factory=dict)
    """Figures, each with its protocol."""


def read_card(folder: Path) -> Card:
    """Read model.json.

    Raises
    ------
    ModelError
        If the folder holds no readable card.
    """
    try:
        return Card.model_validate_json((folder / CARD).read_bytes())
    except OSError:
        raise ModelError(f"{folder} holds no {CARD}; give a model's folder or a name from `mambaseg models`") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelError(f"{folder / CARD} is damaged ({where}: {first['msg']}); install the model again") from None
