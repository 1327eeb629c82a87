"""What each part of the dock widget shows, as values: controllers make them, views draw them, tests read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from napari_mambaseg._models import Extent

Tone: TypeAlias = Literal["plain", "warning", "error"]


@dataclass(frozen=True)
class Choice:
    """One entry of a list to choose from."""

    text: str
    key: str


@dataclass(frozen=True)
class Message:
    """One sentence to the user."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Busy:
    """A task that goes on."""

    text: str
    fraction: float | None = None
    """None while nobody knows."""
    stopping: bool = False


@dataclass(frozen=True)
class VolumeRow:
    """One open volume or mask."""

    key: str
    name: str
    summary: str
    """Size, spacing, plane."""
    warning: str = ""


@dataclass(frozen=True)
class DataScreen:
    """The tab Data."""

    rows: tuple[VolumeRow, ...] = ()
    selected: str = ""
    busy: Busy | None = None
    message: Message | None = None


@dataclass(frozen=True)
class ChannelRow:
    """One input of the model."""

    channel: str
    text: str
    choices: tuple[Choice, ...]
    chosen: str
    note: str = ""


@dataclass(frozen=True)
class SegmentScreen:
    """The tab Segment."""

    models: tuple[Choice, ...] = ()
    model: str = ""
    model_text: str = ""
    rows: tuple[ChannelRow, ...] = ()
    devices: tuple[Choice, ...] = ()
    device: str = "auto"
    extent: Extent = "volume"
    slice_text: str = "slice"
    uncertainty: bool = False
    why_not: str = ""
    """Why the button is off; "" if it is on."""
    estimate: str = ""
    busy: Busy | None = None
    results: tuple[tuple[str, str], ...] = ()
    """Label and volume, of the last run."""
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True)
class StatusScreen:
    """The line at the bottom."""

    text: str
    amber: bool
    tooltip: str
