"""A view, an engine and a runner of a few lines each: controllers run on them without Qt and without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mambaseg.jobs import JobCancelled, Progress
from mambaseg.segmentation import Segmentation
from mambaseg.volume import Label, LabelMap, Volume
from napari_mambaseg._runs import Cancelled, Run

if TYPE_CHECKING:
    from collections.abc import Generator

    from mambaseg.segmentation import SegmentRequest

FACTS = {"device": "cpu", "device_name": "CPU (2 threads)", "backend": "torch", "text": "all about this machine"}


class FakeView:
    """Keeps what it was told to show."""

    def draw(self, screen: Any) -> None:
        self.screen = screen

    def draw_status(self, screen: Any) -> None:
        self.status = screen

    def show_text(self, text: str) -> None:
        self.text = text


class FakeEngine:
    """Calls every voxel of the first channel above 110 a tumour; keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[SegmentRequest] = []
        self.error: Exception | None = None
        self.closed = False

    def segment(self, request: SegmentRequest) -> Generator[Progress, None, Segmentation]:
        self.requests.append(request)
        for step in range(1, 5):
            yield Progress("segmenting", step, 4)
            if self.closed:
                raise JobCancelled("closed")
        if self.error is not None:
            raise self.error
        first = request.volume.data[0]
        labels = {1: Label("tumour", "#e69f00")}
        mask = LabelMap((first > 110).astype(np.uint8), request.volume.affine, labels, request.volume.stored)
        doubt = None
        if request.with_uncertainty:
            soft = np.full((1, *first.shape), 0.5, np.float32)
            doubt = Volume(soft, request.volume.affine, ("uncertainty",))
        return Segmentation(
            labels=mask,
            probabilities=None,
            model="brain-tumour",
            version="1.0",
            device="cpu",
            backend="torch",
            threads=2,
            seconds={"prepare": 0.1, "network": 1.0},
            warnings=request.volume.warnings,
            uncertainty=doubt,
        )

    def examine(self) -> Generator[Progress, None, dict[str, Any]]:
        yield Progress("starting", 0)
        return dict(FACTS)

    def close(self) -> None:
        self.closed = True


class FakeShared:
    """Hands out one engine to whoever asks."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.facts: Any = None
        self.holders: set[object] = set()

    def hold(self, holder: object) -> FakeEngine:
        self.holders.add(holder)
        return self.engine

    def let_go(self, holder: object) -> None:
        self.holders.discard(holder)
        if not self.holders:
            self.engine.close()


class StepRunner:
    """Runs nothing by itself: a test goes step by step, as time does."""

    def start(self, title: str, task: Any, on_progress: Any, on_end: Any) -> Run:
        self.run = Run(title, task)
        self._steps, self._on_progress, self._on_end = self.run.steps(), on_progress, on_end
        return self.run

    def step(self) -> bool:
        """Go one step; return whether there is another."""
        try:
            progress = next(self._steps)
        except StopIteration as stop:
            self._on_end(stop.value)
            return False
        self._on_progress(progress)
        return True

    def finish(self) -> None:
        """Go to the end."""
        while self.step():
            pass

    def abort(self) -> None:
        """End as napari ends its workers when its window is closed."""
        self._steps.close()
        self._on_end(Cancelled())
