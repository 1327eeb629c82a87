"""Strokes with a mouse that is not there, for `mambaseg benchmark paint` and the tour."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent

MOVES = 30
_FRAME_S = 0.016


def drag(application: Any, native: Any, turn: int = 0) -> list[float]:
    """Drag the mouse along an arc around the middle of the canvas.

    Parameters
    ----------
    application
        Qt's.
    native
        The canvas, as Qt knows it.
    turn
        Each of ten turns has an arc of its own.

    Returns
    -------
    list of float
        ms from each event to the end of its picture.
    """
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    middle, radius = (native.width() / 2, native.height() / 2), 30.0 + 12 * (turn % 10)

    def send(kind: Any, angle: float, button: Any, buttons: Any) -> float:
        place = QPointF(middle[0] + radius * np.cos(angle), middle[1] + radius * np.sin(angle))
        there = QPointF(native.mapToGlobal(place.toPoint()))
        event = QMouseEvent(kind, place, there, button, buttons, Qt.KeyboardModifier.NoModifier)
        begun = time.perf_counter()
        application.sendEvent(native, event)
        application.processEvents()
        return 1e3 * (time.perf_counter() - begun)

    times = [send(QEvent.Type.MouseButtonPress, 0.0, left, left)]
    for step in range(1, MOVES):
        times.append(send(QEvent.Type.MouseMove, step * 3.0 / MOVES, none, left))
        time.sleep(max(0.0, _FRAME_S - times[-1] / 1e3))
    return [*times, send(QEvent.Type.MouseButtonRelease, 3.0, left, none)]
