"""Run a long engine task the same way from a script, the command line and the window.

A task is a generator function: it yields `Progress` at every safe stopping point and returns its result. A `Job`
drives one task to its end. A task never yields inside `torch.no_grad()` or `autocast`: while it is suspended the
caller's mode would be changed.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar

from psygnal import EmitLoopError, Signal, SignalGroup, SignalInstance

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

logger = logging.getLogger(__name__)
T = TypeVar("T")


class JobState(StrEnum):
    """Where a job stands; the last three are final."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a task, seen from outside."""

    stage: str
    step: int
    total: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


class JobCancelled(Exception):
    """The job was cancelled before it had a result."""


class JobEvents(SignalGroup):
    """Emitted in the thread that runs the job: widgets connect with `thread="main"`."""

    progressed = Signal(Progress)
    finished = Signal(JobState)


class Job(Generic[T]):
    """Drive one task, once; cancel it between two steps.

    Examples
    --------
    >>> result = Job(lambda: segment(volume, checkpoint)).run()  # doctest: +SKIP
    """

    def __init__(self, task: Callable[[], Generator[Progress, None, T]]) -> None:
        self.events = JobEvents()
        self._task = task
        self._state = JobState.PENDING
        self._cancel_requested = threading.Event()
        self._ended = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None

    @property
    def state(self) -> JobState:
        """The current state."""
        return self._state

    def cancel(self) -> None:
        """Ask the task to stop at its next step; does nothing once it has ended."""
        self._cancel_requested.set()

    def run(self) -> T:
        """Run in the calling thread and return the result (scripts and the command line).

        Raises
        ------
        RuntimeError
            If the job has run before.
        JobCancelled
            If it was cancelled, also by Ctrl-C.
        """
        if self._state is not JobState.PENDING:
            raise RuntimeError(f"a job runs once; this one is already {self._state.value}: make a new one")
        self._state = JobState.RUNNING
        steps = self._task()
        try:
            while not self._cancel_requested.is_set():
                self._emit(self.events.progressed, next(steps))
            final, self._error = JobState.CANCELLED, JobCancelled("the job was cancelled")
        except StopIteration as stop:
            final, self._result = JobState.DONE, stop.value
        except KeyboardInterrupt:
            final, self._error = JobState.CANCELLED, JobCancelled("the job was interrupted")
        except JobCancelled as error:
            final, self._error = JobState.CANCELLED, error
        except Exception as error:
            final, self._error = JobState.FAILED, error
        finally:
            steps.close()
        self._state = final
        self._ended.set()
        self._emit(self.events.finished, final)
        return self.result()

    def start(self) -> Job[T]:
        """Run in a background thread; errors are kept for `result`."""

        def target() -> None:
            try:
                self.run()
            except Exception:
                logger.debug("job ended: %s", self._state, exc_info=True)

        threading.Thread(target=target, name="mambaseg-job", daemon=True).start()
        return self

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end; return the result or raise the error that ended the job."""
        if not self._ended.wait(timeout):
            raise TimeoutError(f"the job is still {self._state.value} after {timeout} s")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def _emit(self, signal: SignalInstance, value: object) -> None:
        """Emit; a listener that fails is logged, never allowed to end the job."""
        try:
            signal.emit(value)
        except EmitLoopError:
            logger.exception("a listener of %s failed", signal.name)
