"""How long runs take: time left, estimates from measured speed, and the words for both."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from napari_mambaseg._screens import Busy

if TYPE_CHECKING:
    from collections.abc import Callable

    from mambaseg.jobs import Progress
    from mambaseg.segmentation import Segmentation
    from napari_mambaseg._layer_list import OpenLayer
    from napari_mambaseg._memory import Memory
    from napari_mambaseg._models import Extent

_STAGES = {
    "reading": "Reading the layers…",
    "starting": "Starting the engine…",
    "waiting": "Waiting for another run…",
    "loading": "Loading the model…",
    "preparing": "Preparing…",
    "finishing": "Finishing…",
}
_SPEEDS = "seconds_per_megavoxel"


class Pace:
    """The clock of one run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.begun = clock()
        self._first: tuple[float, int] | None = None

    def busy(self, progress: Progress) -> Busy:
        """Say how far a run is and how long it still takes."""
        if progress.stage != "segmenting" or not progress.total:
            return Busy(_STAGES.get(progress.stage, f"{progress.stage[:1].upper()}{progress.stage[1:]}…"))
        now = self._clock()
        if self._first is None:
            self._first = (now, progress.step)
        since, step = self._first
        fraction = progress.step / progress.total
        text = f"{fraction:.0%}"
        if progress.step > step:
            left = (now - since) / (progress.step - step) * (progress.total - progress.step)
            text += f"   {seconds_text(left)} left"
        return Busy(text, fraction)

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return self._clock() - self.begun

    def remember(self, memory: Memory, key: str, last: Segmentation) -> None:
        """Keep the measured speed of a whole volume for the next estimate."""
        network = last.seconds.get("network", 0.0) + last.seconds.get("prepare", 0.0)
        if network > 0:
            megavoxels = math.prod(last.labels.shape) / 1e6
            memory.keep(**{_SPEEDS: {**memory.get(_SPEEDS, {}), key: round(network / megavoxels, 4)}})


def estimate(memory: Memory, key: str, layer: OpenLayer | None, extent: Extent) -> str:
    """Say how long a run will take, if the speed was ever measured here."""
    speed = memory.get(_SPEEDS, {}).get(key)
    if speed is None or layer is None or extent == "slice":
        return ""
    return f"A run takes about {seconds_text(max(1.0, speed * math.prod(layer.shape) / 1e6))}."


def run_text(last: Segmentation, pace: Pace) -> str:
    """Say how long a run took, and on what."""
    where = "CPU" if last.device == "cpu" else "GPU"
    return f"Done in {seconds_text(pace.seconds)} on the {where} with {last.model} {last.version}."


def seconds_text(seconds: float) -> str:
    """Write a duration with one or two figures: "0.4 s", "12 s", "3 min"."""
    if seconds < 1:
        return f"{max(seconds, 0.1):.1f} s"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
