"""What the controllers of one dock widget share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psygnal import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari.components import ViewerModel

    from mambaseg.engine_process import EngineProcess
    from napari_mambaseg._engine import SharedEngine
    from napari_mambaseg._memory import Memory
    from napari_mambaseg._runs import Runner


@dataclass(eq=False)
class Workplace:
    """A viewer with what serves it."""

    viewer: ViewerModel
    runner: Runner
    shared: SharedEngine
    memory: Memory
    closed: bool = field(default=False, init=False)

    facts_found = Signal()
    """The engine has said what this machine has."""

    @property
    def engine(self) -> EngineProcess:
        """The child process, held until `close`."""
        return self.shared.hold(self)

    @property
    def facts(self) -> Mapping[str, Any] | None:
        """The doctor's, None until the engine was started."""
        return self.shared.facts

    @facts.setter
    def facts(self, facts: Mapping[str, Any]) -> None:
        self.shared.facts = facts
        self.facts_found.emit()

    def close(self) -> None:
        """Let the engine go; a run that goes on ends as cancelled."""
        self.closed = True
        self.shared.let_go(self)


class LayerWatch:
    """Calls back when layers come, go, are renamed, reordered or selected; until it is stopped."""

    def __init__(self, viewer: ViewerModel, changed: Callable[[], None]) -> None:
        self._changed = changed
        events = viewer.layers.events
        self._emitters = [events.inserted, events.removed, events.reordered, events.renamed]
        self._emitters.append(viewer.layers.selection.events.active)
        for emitter in self._emitters:
            emitter.connect(self._on_event)

    def stop(self) -> None:
        """Disconnect."""
        for emitter in self._emitters:
            emitter.disconnect(self._on_event)
        self._emitters = []

    def _on_event(self, event: Any = None) -> None:
        self._changed()
