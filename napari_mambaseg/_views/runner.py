"""Runs tasks in napari's worker threads, so that napari asks before it closes over one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker

from napari_mambaseg._runs import Cancelled, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from mambaseg.jobs import Progress
    from napari_mambaseg._runs import Outcome


class QtRunner:
    """A Runner whose callbacks come in the thread of the window."""

    def start(
        self,
        title: str,
        task: Callable[[], Generator[Progress, None, Any]],
        on_progress: Callable[[Progress], None],
        on_end: Callable[[Outcome], None],
    ) -> Run:
        """Start a task in a thread of its own; progress that repeats itself is told once."""
        run = Run(title, task)
        relay = _Relay(on_progress, on_end)
        worker = create_worker(
            run.steps,
            # Functions, not methods: PyQt would let go of the relay before its time.
            _connect={
                "yielded": lambda progress: relay.tell(progress),
                "returned": lambda outcome: relay.end(outcome),
                "aborted": lambda: relay.end(Cancelled()),
            },
            _start_thread=False,
        )
        worker.start()
        return run


class _Relay:
    """Passes a worker's signals on and lets go of the controller at the end: napari keeps its workers for ever."""

    def __init__(self, on_progress: Callable[[Progress], None], on_end: Callable[[Outcome], None]) -> None:
        self._callbacks: tuple[Callable[[Progress], None], Callable[[Outcome], None]] | None = (on_progress, on_end)
        self._told: Progress | None = None

    def tell(self, progress: Progress) -> None:
        """Tell progress once: tasks repeat their last step ten times a second while they wait."""
        if self._callbacks is not None and progress != self._told:
            self._told = progress
            self._callbacks[0](progress)

    def end(self, outcome: Outcome) -> None:
        """Tell the end."""
        callbacks, self._callbacks = self._callbacks, None
        if callbacks is not None:
            callbacks[1](outcome)
