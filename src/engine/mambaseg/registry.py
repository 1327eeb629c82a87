"""Where models live: shipped inside the package, and the user's in the platform's data folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_path

from mambaseg.card import CARD, Card, read_card
from mambaseg.errors import ModelError

if TYPE_CHECKING:
    from mambaseg.checkpoint import Checkpoint

SHIPPED = Path(__file__).parent / "models"
HOME = "MAMBASEG_HOME"
"""The environment variable that names the folder of the user's models."""
DEFAULT_MODEL = "brain-tumour"


def user_models() -> Path:
    """Return the folder of the user's own models; it may not exist."""
    return Path(os.environ.get(HOME) or user_data_path("mambaseg", appauthor=False)) / "models"


def list_models() -> list[tuple[Card, Path]]:
    """Return every model's card and folder, shipped ones first, newest version first; damaged cards are left out."""
    found = []
    for root in (SHIPPED, user_models()):
        for card_file in sorted(root.glob(f"*/*/{CARD}")):
            try:
                found.append((read_card(card_file.parent), card_file.parent))
            except ModelError:
                continue
    return sorted(found, key=lambda entry: (entry[0].name, [-part for part in _version(entry[0].version)]))


def find_model(name: str = DEFAULT_MODEL) -> Path:
    """Return a model's folder, by name ("brain-tumour"), name and version ("brain-tumour 1.0"), or the folder itself.

    Raises
    ------
    ModelError
        If there is no such model.
    """
    if (Path(name) / CARD).is_file():
        return Path(name)
    wanted, _, version = name.replace("@", " ").partition(" ")
    models = list_models()
    for card, folder in models:
        if card.name == wanted and version in ("", card.version):
            return folder
    for root in (SHIPPED, user_models()):
        for card_file in root.glob(f"*/*/{CARD}"):
            if card_file.parts[-3] == wanted and version in ("", card_file.parts[-2]):
                return card_file.parent  # its card could not be read: loading it says why
    known = ", ".join(f"{card.name} {card.version}" for card, _ in models) or "none installed"
    raise ModelError(f"there is no model {name!r}; choose from: {known}, or give the folder of a model")


def load_model(name: str = DEFAULT_MODEL) -> Checkpoint:
    """Load a model; `find_model` says what `name` may be.

    Raises
    ------
    ModelError
        If there is no such model, or it is damaged.
    """
    from mambaseg.checkpoint import load_checkpoint  # Only here: listing models must not pay for torch.

    return load_checkpoint(find_model(name))


def _version(text: str) -> list[int]:
    """Return "1.10" as [1, 10], so that it is newer than 1.9."""
    return [int(part) if part.isdigit() else 0 for part in text.split(".")]
