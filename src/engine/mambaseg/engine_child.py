"""One started engine process, seen from its parent: its pipes, its messages, its end."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from mambaseg.errors import EngineLostError
from mambaseg.messages import receive, send

if TYPE_CHECKING:
    from mambaseg.messages import ArrayFolder, Message

logger = logging.getLogger(__name__)
GRACE = 0.7
"""Seconds that a cancelled run has to stop by itself before the process is killed."""
COMMAND = ("-P", "-m", "mambaseg.worker")
"""-P: a file in the current folder that is called like a module must not be imported in its place."""
LOG_TAIL = 4000


class EngineChild:
    """Start the process; it ends when it is killed or this process is gone.

    Raises
    ------
    EngineLostError
        If it cannot be started.
    """

    def __init__(self) -> None:
        self.inbox: SimpleQueue[Message | None] = SimpleQueue()
        """What it says; None when it is gone."""
        self.arrays: ArrayFolder | None = None
        """The folder of the last run."""
        self._ready = False
        self._killed = False
        self._log = _temporary_log()
        try:
            self.process = _start(self._log)
        except OSError as error:
            self._log.close()
            raise _not_started(error) from error
        self._listener = threading.Thread(target=self._listen, name="mambaseg-engine", daemon=True)
        self._listener.start()

    @property
    def usable(self) -> bool:
        """Whether it takes requests."""
        return not self._killed and self.process.poll() is None

    def send(self, message: Message) -> None:
        """Send a message; that the child is gone is heard from the inbox."""
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):
            send(self.process.stdin, message)

    def cancel(self, run: int) -> None:
        """Stop a run: ask, and kill if it has not stopped within the grace period."""
        self.send({"request": "cancel", "run": run})
        deadline = time.monotonic() + GRACE
        with suppress(Empty):
            while (left := deadline - time.monotonic()) > 0:
                message = self.inbox.get(timeout=left)
                if message is None or (message.get("run") == run and message["event"] != "progress"):
                    return
        self.kill()

    def kill(self) -> None:
        """End the process and all that it started; does not wait."""
        self._killed = True
        if self.process.poll() is not None:
            return
        with suppress(OSError):
            if sys.platform == "win32":
                self.process.kill()
            else:
                os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill, wait until it is gone, and remove what it left."""
        self.kill()
        if threading.current_thread() is not self._listener:  # which may be where garbage is collected
            self._listener.join(timeout=1)
        if self.arrays is not None:
            self.arrays.remove()
        self._log.close()

    def lost(self) -> EngineLostError:
        """Return the error that says how it ended; its last words go to the log."""
        words = self._last_words()
        logger.error("the engine's process ended (%s); its last lines:\n%s", self._how(), words)
        if self._ready:
            return EngineLostError(
                f"the engine's process ended in the middle ({self._how()}); nothing was changed: run it again, which "
                "starts a new one"
            )
        last = words.splitlines()[-1] if words else "it said nothing"
        return EngineLostError(
            f"the engine's process ended while it started ({self._how()}: {last}); nothing was changed: check the "
            "installation with `mambaseg doctor`"
        )

    def _listen(self) -> None:
        """Hand messages on until the process is gone, then see that it is."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(OSError):
            while (message := receive(self.process.stdout)) is not None:
                self._ready = True
                self.inbox.put(message)
        try:
            self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                pipe.close()
        self.inbox.put(None)

    def _how(self) -> str:
        """Return how the process ended, as people read it."""
        code = self.process.returncode
        if code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name
        if name == "SIGKILL":
            return "SIGKILL: most often the machine ran out of memory"
        return name

    def _last_words(self) -> str:
        with suppress(OSError, ValueError):
            size = self._log.seek(0, os.SEEK_END)
            self._log.seek(max(0, size - LOG_TAIL))
            return self._log.read().decode(errors="replace").strip()
        return ""


def _temporary_log() -> IO[bytes]:
    """Return a file without a name for what the process writes to standard error."""
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise _not_started(error) from error


def _not_started(error: OSError) -> EngineLostError:
    return EngineLostError(
        f"the engine could not be started ({error.strerror or error}); nothing was changed: check the installation "
        "with `mambaseg doctor`"
    )


def _start(log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the worker in a process group of its own, so that the terminal's Ctrl-C does not reach it."""
    group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        group = {"creationflags": flags | subprocess.BELOW_NORMAL_PRIORITY_CLASS}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *COMMAND], stdin=pipe, stdout=pipe, stderr=log, **group)
