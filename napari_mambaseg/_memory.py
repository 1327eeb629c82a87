"""What the window remembers for a user between two starts: last choices and measured speeds."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

from mambaseg.atomic import replacing
from mambaseg.errors import FileError
from mambaseg.registry import HOME

logger = logging.getLogger(__name__)
FILE = "window.json"


class Memory:
    """A small dictionary on disk. Where it cannot be read or written, the window works without it."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or _default_path()
        self._values: dict[str, Any] = {}
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            self._values = found if isinstance(found, dict) else {}
        except (OSError, ValueError):
            logger.debug("nothing remembered in %s", self._path)

    def get(self, name: str, default: Any = None) -> Any:
        """Return what was remembered under a name."""
        return self._values.get(name, default)

    def keep(self, **values: Any) -> None:
        """Remember plain values; a full disk or a read-only home is no reason to disturb the user."""
        if all(self._values.get(name) == value for name, value in values.items()):
            return
        self._values |= values
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path) as temporary:
                temporary.write_text(json.dumps(self._values, indent=1), encoding="utf-8")
        except (OSError, FileError):
            logger.debug("could not write %s", self._path, exc_info=True)


def _default_path() -> Path:
    home = os.environ.get(HOME)
    return (Path(home) if home else user_state_path("mambaseg", appauthor=False)) / FILE
