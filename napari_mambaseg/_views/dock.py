"""The dock widget: four tabs in the order of the work, and the line at the bottom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QDialog,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_mambaseg._views.data import DataTab
from napari_mambaseg._views.parts import Line, column, in_scroll_area
from napari_mambaseg._views.segment import SegmentTab

if TYPE_CHECKING:
    from qtpy.QtGui import QMouseEvent

    from napari_mambaseg._screens import SegmentScreen, StatusScreen

_CORRECT = (
    "Here you will correct masks with undo, autosave and jump-to-uncertain; it comes with a later version. Until then: "
    "select the mask in napari's layer list, paint with its brush and eraser, and save it with File > Save Selected "
    "Layers."
)
_FINE_TUNE = (
    "Here the model will learn from your corrections, with proof and a way back; it comes with a later version."
)
# Dark text on amber can be read in the dark theme and in the light one.
_AMBER = "QLabel { background: #ffb52e; color: #1c1c1c; padding: 4px; border-radius: 3px; }"
_PLAIN = "QLabel { padding: 4px; }"


class StatusLine(QLabel):
    """Device, back end and model; a click asks for more."""

    clicked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setWordWrap(True)
        # As wide as there is room: the text wraps rather than being cut off.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """Tell that it was clicked."""
        self.clicked.emit()


class DoctorDialog(QDialog):
    """All about this machine, to read and to copy."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("This machine")
        self.resize(560, 480)
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        copy = QPushButton("Copy")
        copy.clicked.connect(self._copy)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(copy)

    def _copy(self) -> None:
        self.text.selectAll()
        self.text.copy()

    def show_text(self, text: str) -> None:
        """Show a text in place of the last one."""
        self.text.setPlainText(text)
        if not self.isVisible():
            self.show()


class SegmentActions(Protocol):
    """What the whole widget asks of the tab Segment's controller."""

    def refresh_models(self) -> None: ...
    def refresh(self) -> None: ...


class MambaDock(QWidget):
    """What napari puts into its window."""

    examine_asked = Signal()
    segment_shown = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumWidth(280)
        self.data, self.segment = DataTab(), SegmentTab()
        self.tabs = QTabWidget()
        self.tabs.setUsesScrollButtons(False)
        self.tabs.tabBar().setExpanding(True)
        self.tabs.addTab(self.data, "Data")
        self.tabs.addTab(in_scroll_area(self.segment), "Segment")
        self.tabs.addTab(_coming(_CORRECT), "Correct")
        self.tabs.addTab(_coming(_FINE_TUNE), "Fine-tune")
        self.status, self.doctor = StatusLine(), DoctorDialog(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.status)
        self.status.clicked.connect(self.examine_asked)
        self.tabs.currentChanged.connect(lambda index: self.segment_shown.emit() if index == 1 else None)

    def draw(self, screen: SegmentScreen) -> None:
        """Show the tab Segment."""
        self.segment.draw(screen)

    def draw_status(self, screen: StatusScreen) -> None:
        """Show the line at the bottom."""
        if screen.text != self.status.text():
            self.status.setText(screen.text)
        style = _AMBER if screen.amber else _PLAIN
        if style != self.status.styleSheet():
            self.status.setStyleSheet(style)
        self.status.setToolTip(f"{screen.text}\n{screen.tooltip}")


def _coming(text: str) -> QWidget:
    page = QWidget()
    layout = column(page)
    line = Line()
    line.show_text(text)
    layout.addWidget(line)
    layout.addStretch(1)
    return page
