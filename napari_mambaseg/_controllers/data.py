"""The tab Data: open files and the sample, list what is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from napari_mambaseg._controllers.adding import add_described
from napari_mambaseg._controllers.workplace import LayerWatch
from napari_mambaseg._layer_list import key_of, open_layers
from napari_mambaseg._resolve import other_grids
from napari_mambaseg._runs import Cancelled, Done, Failed
from napari_mambaseg._screens import Busy, DataScreen, Message, VolumeRow
from napari_mambaseg._tasks import draw_sample, read_files

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from mambaseg.jobs import Progress
    from napari_mambaseg._controllers.workplace import Workplace
    from napari_mambaseg._layers import LayerData
    from napari_mambaseg._runs import Outcome, Run


class DataView(Protocol):
    """What draws the tab."""

    def draw(self, screen: DataScreen) -> None:
        """Show all of `screen`."""


class DataController:
    """Opening and listing."""

    def __init__(self, workplace: Workplace, view: DataView) -> None:
        self._place, self._view = workplace, view
        self._run: Run | None = None
        self._busy: Busy | None = None
        self._message: Message | None = None
        self._watch = LayerWatch(workplace.viewer, self.refresh)
        self.refresh()

    def open(self, paths: Sequence[str]) -> None:
        """Read files beside the window and show them as layers."""
        if paths:
            self._start("opening files", lambda: read_files(list(paths)))

    def open_sample(self) -> None:
        """Draw the sample brain and show it."""
        self._start("drawing a sample brain", draw_sample)

    def cancel(self) -> None:
        """Stop opening; nothing is added."""
        if self._run is not None:
            self._run.cancel()
            self._busy = Busy("Stopping…", stopping=True)
            self.refresh()

    def select(self, key: str) -> None:
        """Select a layer in napari and switch it on."""
        for layer in self._place.viewer.layers:
            if key_of(layer) == key:
                layer.visible = True
                self._place.viewer.layers.selection.active = layer

    def close(self) -> None:
        """Stop listening and reading."""
        self._watch.stop()
        if self._run is not None:
            self._run.cancel()

    def screen(self) -> DataScreen:
        """Return all that the tab shows now."""
        layers = open_layers(self._place.viewer)
        grids = other_grids(layers)
        rows = tuple(
            VolumeRow(
                layer.key,
                layer.name,
                "cannot be segmented" if layer.problem else layer.summary + ("  mask" if layer.is_mask else ""),
                layer.problem or grids.get(layer.key) or layer.warning,
            )
            for layer in layers
        )
        active = self._place.viewer.layers.selection.active
        return DataScreen(rows, key_of(active) if active is not None else "", self._busy, self._message)

    def refresh(self, *_: object) -> None:
        """Draw the tab anew."""
        if not self._place.closed:
            self._view.draw(self.screen())

    def _start(self, title: str, task: Callable[[], Generator[Progress, None, list[LayerData]]]) -> None:
        if self._run is not None:
            self._message = Message("Still opening; wait for that, or cancel it.", "warning")
            self.refresh()
            return
        self._message, self._busy = None, Busy(f"{title[:1].upper()}{title[1:]}…")
        self._run = self._place.runner.start(title, task, self._on_progress, self._on_end)
        self.refresh()

    def _on_progress(self, progress: Progress) -> None:
        if self._run is not None and not (self._busy and self._busy.stopping):
            fraction = progress.step / progress.total if progress.total else None
            self._busy = Busy(f"{progress.stage[:1].upper()}{progress.stage[1:]}…", fraction)
            self.refresh()

    def _on_end(self, outcome: Outcome) -> None:
        self._run = self._busy = None
        if self._place.closed:
            return
        match outcome:
            case Done(layers):
                add_described(self._place.viewer, layers)
            case Failed(sentence):
                self._message = Message(sentence, "error")
            case Cancelled():
                self._message = Message("Stopped; nothing was opened.")
        self.refresh()
