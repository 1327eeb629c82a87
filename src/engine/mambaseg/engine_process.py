"""The engine for a window: tasks that run in a child process, so that this one never loads torch.

Every task has the form of all long tasks: a generator that yields `Progress` and returns its result; a `Job` drives
it in a thread.
"""

from __future__ import annotations

import itertools
import logging
import threading
import weakref
from queue import Empty
from typing import TYPE_CHECKING, Any, TypeVar

from mambaseg import errors
from mambaseg.engine_child import EngineChild
from mambaseg.errors import EngineFaultError, MambaSegError
from mambaseg.jobs import JobCancelled, Progress
from mambaseg.messages import ArrayFolder, pack_volume, unpack_segmentation
from mambaseg.registry import find_model

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from mambaseg.messages import Message
    from mambaseg.segmentation import Segmentation, SegmentRequest

logger = logging.getLogger(__name__)
T = TypeVar("T")
TICK = 0.1
"""Seconds between two events while waiting: how soon a cancel is seen."""


class EngineProcess:
    """One child process that is started at the first request and kept warm; requests take turns.

    Once closed it stays closed: requests, running and new ones, end with `JobCancelled`.

    Examples
    --------
    >>> engine = EngineProcess()  # doctest: +SKIP
    >>> found = Job(lambda: engine.segment(SegmentRequest(volume, "brain-tumour"))).run()  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self.starts = 0
        """How often a child was started."""
        self._child: EngineChild | None = None
        self._at_exit: Callable[[], object] | None = None
        """Ends the child also when this object is forgotten or Python exits."""
        self._turn = threading.Lock()
        self._runs = itertools.count(1)
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether there is a child that takes requests."""
        child = self._child
        return child is not None and child.usable

    @property
    def pid(self) -> int | None:
        """The child's process id; None without a child."""
        child = self._child
        return child.process.pid if child is not None and child.usable else None

    def segment(self, request: SegmentRequest) -> Generator[Progress, None, Segmentation]:
        """Segment a volume; a task.

        Raises
        ------
        MambaSegError
            What `mambaseg.segment.segment` and `load_model` raise; `FileError` if the temporary folder is full;
            `EngineLostError` if the child ends in the middle; `EngineFaultError` if it meets a fault of ours.
        JobCancelled
            If the engine is closed.
        """
        model = str(find_model(request.model).absolute())
        options = {
            "device": request.device,
            "backend": request.backend,
            # A viewer's step may be numpy's integer, which JSON does not know.
            "only_slice": None if request.only_slice is None else int(request.only_slice),
            "with_uncertainty": request.with_uncertainty,
        }
        return (
            yield from self._ask(
                "segment",
                lambda arrays: {"volume": pack_volume(request.volume, arrays), "model": model, "options": options},
                unpack_segmentation,
            )
        )

    def examine(self) -> Generator[Progress, None, dict[str, Any]]:
        """Return what `mambaseg doctor` finds, with the same in words under "text"; a task."""
        return (yield from self._ask("examine", lambda _: {}, lambda facts, _: facts))

    def close(self) -> None:
        """End the child, also in the middle of a run; returns at once, from any thread, as often as you like."""
        self._closed = True
        child = self._child
        if child is not None:
            child.kill()

    def _ask(
        self, request: str, fill: Callable[[ArrayFolder], Message], take: Callable[[Message, ArrayFolder], T]
    ) -> Generator[Progress, None, T]:
        """Run one request when it is its turn: arrays out, wait, arrays back."""
        while not self._turn.acquire(timeout=TICK):
            self._refuse_if_closed()
            yield Progress("waiting", 0)
        arrays = None
        try:
            child, stage = yield from self._warm_child()
            yield Progress(stage, 0)
            arrays = child.arrays = ArrayFolder.make()
            run = next(self._runs)
            child.send({"request": "folder", "folder": str(arrays.path)})
            child.send({"request": request, "run": run, "folder": str(arrays.path), **fill(arrays)})
            answer = yield from self._wait(child, run, Progress(stage, 0))
            return take(_result(answer), arrays)
        finally:
            if arrays is not None:
                arrays.remove()
            self._turn.release()

    def _warm_child(self) -> Generator[Progress, None, tuple[EngineChild, str]]:
        """Return a child that takes requests, started if need be, and what a person waits for until it works."""
        self._refuse_if_closed()
        if self._child is not None and self._child.usable:
            return self._child, "sending"
        if self._at_exit is not None:
            self._at_exit()
        child = self._child = EngineChild()
        self._at_exit = weakref.finalize(self, child.end)
        self.starts += 1
        ready = False
        try:
            while not ready:
                self._refuse_if_closed()
                yield Progress("starting", 0)
                ready = self._next(child).get("event") == "ready"
        finally:
            if not ready:
                child.kill()
        return child, "starting"

    def _wait(self, child: EngineChild, run: int, last: Progress) -> Generator[Progress, None, Message]:
        """Wait for a run's result; however this ends, the run has ended too."""
        ended = False
        try:
            while True:
                message = self._next(child)
                if message.get("run") == run:
                    if message["event"] != "progress":
                        ended = True
                        return message
                    last = Progress(message["stage"], message["step"], message["total"], message["metrics"])
                yield last
        finally:
            if not ended and child.usable:
                child.cancel(run)

    def _next(self, child: EngineChild) -> Message:
        """Return the child's next message, or an empty one if none came within a tick."""
        try:
            message = child.inbox.get(timeout=TICK)
        except Empty:
            return {}
        if message is None:
            self._refuse_if_closed()
            raise child.lost()
        return message

    def _refuse_if_closed(self) -> None:
        if self._closed:
            child = self._child
            if child is not None:  # started while `close` ran
                child.kill()
            raise JobCancelled("the engine was closed")


def _result(message: Message) -> Any:
    """Return a run's result, or raise the error that ended it."""
    if message["event"] == "result":
        return message["result"]
    if message["event"] == "error":
        kind = getattr(errors, message["kind"], MambaSegError)
        raise kind(message["message"])
    if message["event"] == "fault":
        logger.error("the engine failed\n%s", message["traceback"])
        raise EngineFaultError(
            f"the engine failed ({message['message']}); nothing was changed: run it again, the log has the details"
        )
    raise JobCancelled("the run was cancelled")
