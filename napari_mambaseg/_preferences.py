"""The plugin's part of napari's Preferences, as the manifest's `configurations` declare it.

The tab Segment shows and changes the same values, so that there is one truth. The engine needs none of them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)
PLUGIN = "napari-mambaseg"
DEFAULTS: dict[str, Any] = {"device": "auto", "backend": "auto", "uncertainty": False, "autosave_seconds": 20}


def preference(name: str) -> Any:
    """Return a value from Preferences, or its default where napari knows no preferences of ours."""
    return getattr(_group(), name, DEFAULTS[name])


def set_preference(name: str, value: Any) -> None:
    """Change a value in Preferences; napari writes it to its own file."""
    group = _group()
    if group is None or getattr(group, name, None) == value:
        return
    try:
        setattr(group, name, value)
    except OSError:  # A read-only home: the value holds until napari is closed.
        logger.debug("could not save the preference %s", name, exc_info=True)


def watch_preferences(changed: Callable[[], None]) -> Callable[[], None]:
    """Call back when the user changes something of ours in Preferences; return what ends that."""
    group = _group()
    if group is None:
        return lambda: None

    def note(event: object = None) -> None:
        changed()

    group.events.connect(note)
    return lambda: group.events.disconnect(note)


def _group() -> Any:
    from napari.settings import get_plugin_settings

    try:
        return getattr(get_plugin_settings(PLUGIN), "segment", None)
    except (KeyError, OSError, ValueError):
        return None
