"""What a click on the line at the bottom opens: all about this machine, as `mambaseg doctor` prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from napari_mambaseg._runs import Cancelled, Done, Failed

if TYPE_CHECKING:
    from napari_mambaseg._controllers.workplace import Workplace
    from napari_mambaseg._runs import Outcome, Run


class DoctorView(Protocol):
    """What shows the text."""

    def show_text(self, text: str) -> None:
        """Show a text in place of the last one."""


class DoctorController:
    """Asks the engine once; what it found holds until napari is closed."""

    def __init__(self, workplace: Workplace, view: DoctorView) -> None:
        self._place, self._view = workplace, view
        self._run: Run | None = None

    def examine(self) -> None:
        """Show what this machine has; starts the engine if it must."""
        facts = self._place.facts
        if facts is not None:
            self._view.show_text(str(facts["text"]))
            return
        self._view.show_text("Starting the engine to look at this machine…")
        if self._run is None:
            engine = self._place.engine
            self._run = self._place.runner.start(
                "looking at this machine", engine.examine, lambda progress: None, self._on_end
            )

    def close(self) -> None:
        """Stop asking."""
        if self._run is not None:
            self._run.cancel()

    def _on_end(self, outcome: Outcome) -> None:
        self._run = None
        if self._place.closed:
            return
        match outcome:
            case Done(facts):
                self._place.facts = facts
                self._view.show_text(str(facts["text"]))
            case Failed(sentence):
                self._view.show_text(sentence)
            case Cancelled():
                self._view.show_text("Stopped.")
