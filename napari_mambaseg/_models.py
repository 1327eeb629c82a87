"""What the user asks for at the moment: plain values that tell when they change. No arrays, no Qt, no napari."""

from __future__ import annotations

from typing import Literal, TypeAlias

from psygnal import EventedModel
from pydantic import Field

Extent: TypeAlias = Literal["volume", "slice"]


class SegmentChoice(EventedModel):
    """The choices of the tab Segment."""

    model: str = ""
    """The model's folder; "" while there is none."""
    inputs: dict[str, str] = Field(default_factory=dict)
    """Layer chosen by hand for a channel, by the layer's key; "" for none. A channel not in here is guessed."""
    device: str = "auto"
    backend: str = "auto"
    extent: Extent = "volume"
    uncertainty: bool = False
