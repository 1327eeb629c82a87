"""The engine in a process of its own, for the window: `python -m mambaseg.worker`, started by `EngineProcess`.

Requests come as JSON lines on standard input, events leave the same way on what was standard output. The process
ends at once when its standard input closes: then its parent is gone, however it went.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO

# Ours are imported inside functions: before any of them can print, `main` has set the streams apart.
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from mambaseg.checkpoint import Checkpoint
    from mambaseg.jobs import Progress
    from mambaseg.messages import Message


def main() -> None:
    """Answer requests until standard input closes."""
    requests, events = reserve_streams()
    be_modest()
    Worker(requests, events).serve()


def reserve_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep standard input and output for messages; what libraries print goes to standard error instead."""
    requests, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(requests, "rb"), os.fdopen(events, "wb")


def be_modest() -> None:
    """Let the window go first, and leave the terminal's Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable(2)  # a crash in a library says where
    # Threads that wait by spinning starve the window's; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(5)


class Worker:
    """Run one request after the other; a second thread listens meanwhile."""

    def __init__(self, requests: BinaryIO, events: BinaryIO) -> None:
        self._requests, self._events = requests, events
        self._waiting: SimpleQueue[Message] = SimpleQueue()
        self._models = LastModel()
        self._folder: Path | None = None
        self._sending = threading.Lock()
        self._starting = threading.Lock()
        self._run = 0
        self._cancelled: set[int] = set()

    def serve(self) -> None:
        """Answer requests, for ever."""
        threading.Thread(target=self._listen, daemon=True).start()
        self._send({"event": "ready"})
        # While the parent still writes its arrays; if it fails, the first request says why.
        with suppress(Exception):
            importlib.import_module("mambaseg.segment")
        while True:
            self._answer(self._waiting.get())

    def _listen(self) -> None:
        """Take requests; end the process, also in the middle of a computation, when no more can come."""
        from mambaseg.messages import ArrayFolder, receive

        try:
            while (message := receive(self._requests)) is not None:
                if message["request"] == "folder":
                    self._folder = Path(message["folder"])
                elif message["request"] == "cancel":
                    self._cancel(message["run"])
                else:
                    self._waiting.put(message)
        finally:
            if self._folder is not None:
                ArrayFolder(self._folder).remove()
            os._exit(0)

    def _cancel(self, run: int) -> None:
        """Stop a run at its next step; one that has not begun is confirmed here, the rest where they are run."""
        with self._starting:
            self._cancelled.add(run)
            if run > self._run:
                self._send({"event": "cancelled", "run": run})

    def _answer(self, message: Message) -> None:
        """Run one request and send how it ended."""
        with self._starting:
            self._run = message["run"]
            if self._run in self._cancelled:
                return
        self._send({**self._outcome(message), "run": self._run})

    def _outcome(self, message: Message) -> Message:
        from mambaseg.errors import MambaSegError

        tasks: dict[str, Callable[[Message], Generator[Progress, None, Message]]] = {
            "segment": self._segment,
            "examine": self._examine,
        }
        try:
            return self._drive(tasks[message["request"]](message))
        except MambaSegError as error:
            return {"event": "error", "kind": type(error).__name__, "message": str(error)}
        except Exception as error:
            reason = "not enough memory" if _out_of_memory(error) else f"{type(error).__name__}: {error}"
            return {"event": "fault", "message": reason, "traceback": traceback.format_exc()}

    def _drive(self, task: Generator[Progress, None, Message]) -> Message:
        """Run a task to its end, or until it is cancelled between two steps."""
        try:
            while True:
                step = next(task)
                if self._run in self._cancelled:
                    return {"event": "cancelled"}
                self._send({
                    "event": "progress", "run": self._run, "stage": step.stage, "step": step.step,
                    "total": step.total, "metrics": dict(step.metrics),
                })  # fmt: skip
        except StopIteration as stop:
            return {"event": "result", "result": stop.value}
        finally:
            task.close()

    def _segment(self, message: Message) -> Generator[Progress, None, Message]:
        from mambaseg.jobs import Progress
        from mambaseg.messages import ArrayFolder, pack_segmentation, unpack_volume

        yield Progress("loading", 0)
        from mambaseg.segment import segment

        arrays = ArrayFolder(Path(message["folder"]))
        volume = unpack_volume(message["volume"], arrays)
        checkpoint = self._models.load(message["model"])
        found = yield from segment(volume, checkpoint, **message["options"])
        return pack_segmentation(found, arrays)

    def _examine(self, message: Message) -> Generator[Progress, None, Message]:
        from mambaseg.doctor import examine, in_words
        from mambaseg.jobs import Progress

        yield Progress("examining", 0)
        facts = examine()
        return {**facts, "text": in_words(facts)}

    def _send(self, message: Message) -> None:
        from mambaseg.messages import send

        # A parent that is gone closes standard input too: the listening thread ends the process.
        with self._sending, suppress(BrokenPipeError):
            send(self._events, message)


class LastModel:
    """The model of the last run, loaded again only when its files have changed."""

    def __init__(self) -> None:
        self._state: object = None
        self._checkpoint: Checkpoint | None = None

    def load(self, name: str) -> Checkpoint:
        """Return the model.

        Raises
        ------
        ModelError
            If it is gone or damaged.
        """
        from mambaseg.checkpoint import load_checkpoint
        from mambaseg.registry import find_model

        folder = find_model(name)
        state = _state(folder)
        if self._checkpoint is None or state is None or state != self._state:
            self._checkpoint = None
            self._checkpoint, self._state = load_checkpoint(folder), state
        return self._checkpoint


def _state(folder: Path) -> tuple[Any, ...] | None:
    """Return what changes whenever a model's files do; None if one cannot be looked at."""
    from mambaseg.card import CARD
    from mambaseg.checkpoint import WEIGHTS

    try:
        found = [(folder / name).stat() for name in (CARD, WEIGHTS)]
    except OSError:
        return None
    return folder, *((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)


def _out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; torch says so of the CPU in a RuntimeError's text."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


if __name__ == "__main__":
    main()
