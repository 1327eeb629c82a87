"""The child process that all widgets of one napari share: started at the first run, stopped with its last user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mambaseg.engine_process import EngineProcess

if TYPE_CHECKING:
    from collections.abc import Mapping


class SharedEngine:
    """One child process and those who hold it."""

    def __init__(self) -> None:
        self._process: EngineProcess | None = None
        self._holders: set[object] = set()
        self.facts: Mapping[str, Any] | None = None
        """What the doctor found in this process; the machine does not change under it."""

    def hold(self, holder: object) -> EngineProcess:
        """Return the process, which lives at least until `holder` lets it go."""
        self._holders.add(holder)
        if self._process is None:
            self._process = EngineProcess()
        return self._process

    def let_go(self, holder: object) -> None:
        """Stop the process if nobody else holds it; does nothing the second time."""
        self._holders.discard(holder)
        if not self._holders and self._process is not None:
            process, self._process = self._process, None
            process.close()


SHARED = SharedEngine()
