"""Small widgets that the tabs share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFrame, QLabel, QProgressBar, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_mambaseg._screens import Choice, Message

_STEPS = 1000
_MARKS = {"plain": "", "warning": "⚠ ", "error": "✕ "}


class Line(QLabel):
    """Text that wraps, can be copied, and takes no room while it is empty."""

    def __init__(self, grey: bool = False) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        if grey:
            font = self.font()
            font.setItalic(True)
            self.setFont(font)
        self.hide()

    def show_text(self, text: str) -> None:
        """Show a text; "" hides the line."""
        if text != self.text():
            self.setText(text)
        self.setVisible(bool(text))


def message_text(message: Message | None) -> str:
    """Return a message with the sign of its tone: colour alone would not tell everybody."""
    return "" if message is None else _MARKS[message.tone] + message.text


class ChoiceBox:
    """A drop-down list of choices, magicgui's, that speaks of keys and is silent when it is filled."""

    def __init__(self, name: str, chosen: Callable[[str], None]) -> None:
        self._box = ComboBox(name=name, choices=())
        self._shown: tuple[tuple[Choice, ...], str] | None = None
        self._box.changed.connect(lambda key: chosen("" if key is None else key))
        native: QComboBox = self._box.native
        # The longest name decides the width otherwise, and the dock widget could not be narrow.
        native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        native.setMinimumContentsLength(6)
        native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.widget = native

    def render(self, choices: Sequence[Choice], key: str) -> None:
        """Show choices and the chosen one."""
        wanted = (tuple(choices), key)
        if wanted == self._shown:
            return
        self._shown = wanted
        with self._box.changed.blocked():
            self._box.choices = [(choice.text, choice.key) for choice in choices]
            if any(choice.key == key for choice in choices):
                self._box.value = key
        text = next((choice.text for choice in choices if choice.key == key), "")
        self.widget.setToolTip(text)


def show_share(bar: QProgressBar, fraction: float | None) -> None:
    """Show a share on a bar, or that nobody knows it.

    Qt paints a bar's new value at once, and the whole window under it, 20 to 80 ms where OpenGL is software; with
    updates switched off for a moment it is painted with everything else.
    """
    bar.setUpdatesEnabled(False)
    bar.setRange(0, 0 if fraction is None else _STEPS)
    if fraction is not None:
        bar.setValue(round(fraction * _STEPS))
    bar.setUpdatesEnabled(True)


def in_scroll_area(content: QWidget) -> QScrollArea:
    """Return a page that scrolls down when the dock widget is low, and never sideways."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(content)
    return area


def column(parent: QWidget) -> QVBoxLayout:
    """Return the layout of a tab."""
    layout = QVBoxLayout(parent)
    layout.setContentsMargins(8, 8, 8, 8)
    layout.setSpacing(6)
    return layout


def stacked(*widgets: QWidget) -> QWidget:
    """Return widgets one under the other as one: hidden ones leave no gap, as they would in a form."""
    box = QWidget()
    layout = QVBoxLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(2)
    for widget in widgets:
        layout.addWidget(widget)
    return box
