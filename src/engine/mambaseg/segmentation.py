"""What segmenting a volume returns, known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mambaseg.volume import LabelMap, Volume


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
    backend: str
    threads: int
    seconds: Mapping[str, float]
    """prepare and network."""
    warnings: tuple[str, ...]
