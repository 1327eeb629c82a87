"""Tasks in the background, as controllers see them: start, cancel, and exactly one end. No Qt."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from mambaseg.errors import MambaSegError
from mambaseg.jobs import JobCancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from mambaseg.jobs import Progress

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[T]):
    """The task returned."""

    result: T


@dataclass(frozen=True)
class Failed:
    """The task raised."""

    sentence: str


@dataclass(frozen=True)
class Cancelled:
    """The task was stopped."""


Outcome: TypeAlias = "Done[Any] | Failed | Cancelled"


class Run:
    """One task on its way; it ends with an Outcome, never with an exception."""

    def __init__(self, title: str, task: Callable[[], Generator[Progress, None, Any]]) -> None:
        self._title, self._task = title, task
        self._stop = False

    def __repr__(self) -> str:
        """Return the title: napari shows it when it asks whether to close the window over this run."""
        return self._title

    def cancel(self) -> None:
        """Ask the task to stop at its next step."""
        self._stop = True

    def steps(self) -> Generator[Progress, None, Outcome]:
        """Drive the task; to be called in the thread that it shall run in."""
        task, self._task = self._task, _ran_already
        try:
            steps = task()
            try:
                while not self._stop:
                    yield next(steps)
                return Cancelled()
            finally:
                steps.close()
        except StopIteration as stop:
            return Done(stop.value)
        except JobCancelled:
            return Cancelled()
        except MambaSegError as error:
            return Failed(_as_sentence(str(error)))
        except MemoryError:
            return Failed("There is not enough memory for this; close other volumes and try again.")
        except Exception as error:
            logger.exception("a task of the window failed")
            return Failed(f"This failed by a fault of ours ({type(error).__name__}: {error}); please report it.")


def _ran_already() -> Generator[Progress, None, Any]:
    """Stand for a task that is over, so that a run that napari keeps does not keep volumes in memory."""
    raise RuntimeError("a run runs once")


class Runner(Protocol):
    """Runs tasks beside the window."""

    def start(
        self,
        title: str,
        task: Callable[[], Generator[Progress, None, Any]],
        on_progress: Callable[[Progress], None],
        on_end: Callable[[Outcome], None],
    ) -> Run:
        """Start a task; both callbacks come in the thread of the window, `on_end` once and last."""


def run_here(run: Run) -> Outcome:
    """Drive a run to its end in the calling thread."""
    steps = run.steps()
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome


def _as_sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
