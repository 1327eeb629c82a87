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
        told: Progress | None = None

        # Tasks repeat their last step ten times a second while they wait, and a controller draws a screen for each.
        def tell(progress: Progress) -> None:
            nonlocal told
            if progress != told:
                told = progress
                on_progress(progress)

        worker = create_worker(
            run.steps,
            _connect={"yielded": tell, "returned": on_end, "aborted": lambda: on_end(Cancelled())},
            _start_thread=False,
        )
        worker.start()
        return run
