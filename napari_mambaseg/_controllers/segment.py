"""The tab Segment: which model on which layers, run and cancel, results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mambaseg.card import CARD
from mambaseg.registry import DEFAULT_MODEL, list_models
from napari_mambaseg._controllers.adding import add_described
from napari_mambaseg._controllers.timing import Pace, estimate, run_text
from napari_mambaseg._controllers.watching import SourceWatch
from napari_mambaseg._controllers.workplace import LayerWatch
from napari_mambaseg._layer_list import key_of, meta_of, open_layers
from napari_mambaseg._models import SegmentChoice
from napari_mambaseg._preferences import preference, set_preference, watch_preferences
from napari_mambaseg._resolve import channel_rows, choose_inputs, mask_name, model_text, why_not
from napari_mambaseg._runs import Cancelled, Done, Failed
from napari_mambaseg._screens import Busy, Choice, Message, SegmentScreen
from napari_mambaseg._slices import axial_slice
from napari_mambaseg._status import status_screen
from napari_mambaseg._tasks import Order, Source, segment_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mambaseg.card import Card
    from mambaseg.jobs import Progress
    from mambaseg.segmentation import Segmentation
    from napari_mambaseg._controllers.workplace import Workplace
    from napari_mambaseg._layer_list import OpenLayer
    from napari_mambaseg._models import Extent
    from napari_mambaseg._runs import Outcome, Run
    from napari_mambaseg._screens import StatusScreen
    from napari_mambaseg._slices import AxialSlice
    from napari_mambaseg._tasks import Found

DEVICES = (
    Choice("automatic", "auto"),
    Choice("GPU (CUDA)", "cuda"),
    Choice("GPU (Apple)", "mps"),
    Choice("CPU", "cpu"),
)
NO_MODEL = "No model is installed; install napari-mambaseg again."


class SegmentView(Protocol):
    """What draws the tab."""

    def draw(self, screen: SegmentScreen) -> None:
        """Show all of `screen`."""

    def draw_status(self, screen: StatusScreen) -> None:
        """Show the line at the bottom."""


class SegmentController:
    """Model, view and runs of the tab Segment."""

    def __init__(self, workplace: Workplace, view: SegmentView) -> None:
        self.choice = SegmentChoice(**_preferred())
        self._place, self._view = workplace, view
        self._cards: dict[str, Card] = {}
        self._run: Run | None = None
        self._busy: Busy | None = None
        self._pace = Pace()
        self._sources: SourceWatch | None = None
        self._whole = True
        self._last: Segmentation | None = None
        self._results: tuple[tuple[str, str], ...] = ()
        self._messages: tuple[Message, ...] = ()
        self._shown = SegmentScreen()
        self._watch = LayerWatch(workplace.viewer, self.refresh)
        workplace.viewer.dims.events.point.connect(self._on_point)
        workplace.facts_found.connect(self.refresh)
        self._forget_preferences = watch_preferences(lambda: self.choice.update(_preferred()))
        self.refresh_models()
        self.choice.events.connect(self.refresh)
        self.refresh()

    # What the user does -------------------------------------------------------------------------------------------

    def choose_model(self, folder: str) -> None:
        """Take another model; layers are matched anew, for its channels may be others."""
        if folder != self.choice.model:
            self.choice.update({"model": folder, "inputs": {}})
            self._place.memory.keep(model=folder)

    def choose_layer(self, channel: str, key: str) -> None:
        """Put a layer, or none (""), into a channel."""
        self.choice.inputs = {**self.choice.inputs, channel: key}

    def choose_device(self, device: str) -> None:
        """Take another device from the next run on."""
        self.choice.device = device
        self._last = None
        set_preference("device", device)
        self.refresh()

    def choose_extent(self, extent: Extent) -> None:
        """Segment the whole volume or the slice on screen."""
        self.choice.extent = extent

    def choose_uncertainty(self, wanted: bool) -> None:
        """Show uncertainty too, or not."""
        self.choice.uncertainty = wanted
        set_preference("uncertainty", wanted)

    def press(self) -> None:
        """Do what the one button says: run, or cancel the run."""
        if self._run is None:
            self.run()
        else:
            self.cancel()

    def run(self) -> None:
        """Start a run, or say why not."""
        if self._run is not None:
            return
        order = self._order()
        if isinstance(order, str):
            self._messages = (Message(order, "error"),)
            self.refresh()
            return
        self._results, self._messages, self._pace = (), (), Pace()
        self._busy, self._whole = Busy("Starting…"), order.only_slice is None
        engine, facts = self._place.engine, self._place.facts
        title = f"segmenting {order.name}"
        self._run = self._place.runner.start(
            title, lambda: segment_layers(engine, order, facts), self._on_progress, self._on_end
        )
        self.refresh()

    def cancel(self) -> None:
        """Stop the run; what was there before stays as it was."""
        if self._run is not None:
            self._run.cancel()
            self._busy = Busy("Stopping…", stopping=True)
            self.refresh()

    def refresh_models(self) -> None:
        """Look again which models there are; the chosen one stays in the list even if it was removed from disk."""
        found = {str(folder): card for card, folder in list_models()}
        kept = {self.choice.model: self._cards[self.choice.model]} if self.choice.model in self._cards else {}
        self._cards = found | {folder: card for folder, card in kept.items() if folder not in found}
        if self.choice.model not in self._cards:
            last = self._place.memory.get("model")
            default = next((folder for folder, card in found.items() if card.name == DEFAULT_MODEL), "")
            self.choice.model = last if last in found else default or next(iter(found), "")

    def close(self) -> None:
        """Stop listening and running; the view may be gone already."""
        self._watch.stop()
        self._forget_preferences()
        self._place.facts_found.disconnect(self.refresh)
        self._place.viewer.dims.events.point.disconnect(self._on_point)
        if self._sources is not None:
            self._sources.stop()
        if self._run is not None:
            self._run.cancel()

    # What the tab shows -------------------------------------------------------------------------------------------

    @property
    def card(self) -> Card | None:
        """The chosen model's card."""
        return self._cards.get(self.choice.model)

    def screen(self) -> SegmentScreen:
        """Return all that the tab shows now."""
        card, choice = self.card, self.choice
        models = tuple(Choice(f"{one.name} {one.version}", folder) for folder, one in self._cards.items())
        empty = SegmentScreen(models=models, model=choice.model, devices=DEVICES, device=choice.device)
        if card is None:
            return replace(empty, why_not=NO_MODEL)
        layers = open_layers(self._place.viewer)
        chosen = self._chosen(card, layers)
        reason = why_not(card, layers, chosen)
        first = next((layer for layer in layers if layer.key == chosen[card.channels[0].name]), None)
        return replace(
            empty,
            model_text=model_text(card),
            rows=channel_rows(card, layers, chosen, choice.inputs),
            extent=choice.extent,
            slice_text=self._slice_text(chosen[card.channels[0].name]),
            uncertainty=choice.uncertainty,
            why_not=reason,
            estimate="" if reason else estimate(self._place.memory, self._pace_key(), first, choice.extent),
            busy=self._busy,
            results=self._results,
            messages=self._messages,
        )

    def refresh(self, *_: object) -> None:
        """Draw the tab anew."""
        if self._place.closed:
            return
        self._shown = self.screen()
        self._view.draw(self._shown)
        card = self.card
        title = f"{card.name} {card.version}" if card else ""
        self._view.draw_status(status_screen(title, self.choice.device, self._place.facts, self._last))

    def _on_point(self, event: object = None) -> None:
        """Follow the slider: many times a second, so nothing but the number is worked out anew."""
        if self._place.closed or self.card is None:
            return
        key = next((row.chosen for row in self._shown.rows), "")
        self._shown = replace(self._shown, slice_text=self._slice_text(key))
        self._view.draw(self._shown)

    def _chosen(self, card: Card, layers: Sequence[OpenLayer]) -> dict[str, str]:
        active = self._place.viewer.layers.selection.active
        key = key_of(active) if active is not None else ""
        return choose_inputs(card, layers, self.choice.inputs, key)

    def _slice_text(self, key: str) -> str:
        layer = self._layer(key)
        return "slice" if layer is None else f"slice {self._slice(layer).shown}"

    def _slice(self, layer: Any) -> AxialSlice:
        viewer = self._place.viewer
        return axial_slice(layer, viewer.dims.point, viewer.layers.units)

    def _layer(self, key: str) -> Any:
        return next((layer for layer in self._place.viewer.layers if key and key_of(layer) == key), None)

    def _pace_key(self) -> str:
        return f"{self.choice.model} on {self.choice.device}"

    # One run ------------------------------------------------------------------------------------------------------

    def _order(self) -> Order | str:
        """Return what to run, or the sentence that says why not."""
        card = self.card
        if card is None:
            return NO_MODEL
        title = f"{card.name} {card.version}"
        if not (Path(self.choice.model) / CARD).is_file():
            return f"The model {title} was removed from disk; choose another one, or put it back."
        listed = open_layers(self._place.viewer)
        chosen = self._chosen(card, listed)
        reason = why_not(card, listed, chosen)
        if reason:
            return reason
        layers = {channel: self._layer(key) for channel, key in chosen.items() if key}
        first = layers[card.channels[0].name]
        self._sources = SourceWatch(self._place.viewer, list(layers.values()))
        name = mask_name(str(first.name), card)
        return Order(
            sources={channel: Source(layer.data, meta_of(layer)) for channel, layer in layers.items()},
            model=self.choice.model,
            device=self.choice.device,
            backend=self.choice.backend,
            only_slice=self._slice(first).stored if self.choice.extent == "slice" else None,
            uncertainty=self.choice.uncertainty,
            name=name,
            uncertainty_name=f"{first.name} · uncertainty",
        )

    def _on_progress(self, progress: Progress) -> None:
        if self._place.closed or self._run is None or (self._busy and self._busy.stopping):
            return
        self._busy = self._pace.busy(progress)
        self._shown = replace(self._shown, busy=self._busy)
        self._view.draw(self._shown)

    def _on_end(self, outcome: Outcome) -> None:
        """Show what a run came to; a result never replaces anything."""
        watch, self._sources = self._sources, None
        changes = watch.stop() if watch is not None else ()
        self._run = self._busy = None
        if self._place.closed:
            return
        match outcome:
            case Done(found):
                self._take(found, changes)
            case Failed(sentence):
                self._messages = (Message(sentence, "error"),)
            case Cancelled():
                self._messages = (Message("Stopped; nothing was changed."),)
        self.refresh_models()
        self.refresh()

    def _take(self, found: Found, changes: tuple[str, ...]) -> None:
        last = self._last = found.segmentation
        self._results = tuple((name, f"{ml:.1f} ml") for name, ml in last.labels.volumes_ml().items())
        warnings = tuple(Message(text[:1].upper() + text[1:], "warning") for text in (*changes, *last.warnings))
        part = () if self._whole else (Message("Only that one slice was segmented; the ml are its own.", "warning"),)
        self._messages = (Message(run_text(last, self._pace)), *part, *warnings)
        if self._whole:
            self._pace.remember(self._place.memory, self._pace_key(), last)
        add_described(self._place.viewer, found.layers)
        self._place.facts = found.facts


def _preferred() -> dict[str, Any]:
    return {name: preference(name) for name in ("device", "backend", "uncertainty")}
