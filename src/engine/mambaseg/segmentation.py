"""What is asked of a segmentation run and what it returns, known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mambaseg.volume import LabelMap, Volume


@dataclass(frozen=True, eq=False)
class SegmentRequest:
    """What to segment, and how; the same choices as `mambaseg.segment.segment` takes."""

    volume: Volume
    model: str
    """A name, "name version" or the folder of a model."""
    device: str = "auto"
    backend: str = "auto"
    only_slice: int | None = None
    """This slice alone, counted along the volume's own axial axis."""
    with_uncertainty: bool = False


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What a run found and how."""

    labels: LabelMap
    """On the volume's own grid."""
    probabilities: Volume | None
    """float32, a channel for each label; None if not asked for."""
    model: str
    version: str
    device: str
    """What ran the network in the end, also where it had to leave the GPU."""
    backend: str
    threads: int
    seconds: Mapping[str, float]
    """prepare and network."""
    warnings: tuple[str, ...]
    uncertainty: Volume | None = None
    """float32, one channel "uncertainty" from 0 (sure) to 1 (all classes alike), 0 where nothing was run."""
