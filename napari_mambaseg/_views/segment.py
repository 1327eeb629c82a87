"""The tab Segment, drawn."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QShortcut,
    QWidget,
)

from napari_mambaseg._views.parts import ChoiceBox, Line, column, message_text, show_share, stacked

if TYPE_CHECKING:
    from napari_mambaseg._models import Extent
    from napari_mambaseg._screens import Busy, ChannelRow, SegmentScreen


class SegmentActions(Protocol):
    """What the tab asks for."""

    def choose_model(self, folder: str) -> None: ...
    def choose_layer(self, channel: str, key: str) -> None: ...
    def choose_device(self, device: str) -> None: ...
    def choose_extent(self, extent: Extent) -> None: ...
    def choose_uncertainty(self, wanted: bool) -> None: ...
    def press(self) -> None: ...


class SegmentTab(QWidget):
    """Model, layers, device, extent, one button, progress, results."""

    def __init__(self) -> None:
        super().__init__()
        self._actions: SegmentActions | None = None
        self._channels: dict[str, tuple[ChoiceBox, Line]] = {}
        layout = column(self)
        self._form = QFormLayout()
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        self.model = ChoiceBox("model", lambda key: self._do("choose_model", key))
        self.device = ChoiceBox("device", lambda key: self._do("choose_device", key))
        self.model_text = Line(grey=True)
        self._form.addRow("Model", stacked(self.model.widget, self.model_text))
        self._form.addRow("Device", self.device.widget)
        self._form.addRow("On", self._make_extent())
        layout.addLayout(self._form)
        self.uncertainty = QCheckBox("also show uncertainty")
        self.uncertainty.setToolTip("A second layer: bright where the model is in doubt, which is where to look first.")
        self.uncertainty.clicked.connect(lambda on: self._do("choose_uncertainty", bool(on)))
        self.button = QPushButton("Segment (Enter)")
        self.button.setMinimumHeight(32)
        self.button.clicked.connect(lambda: self._do("press"))
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(self.button.click)
        self.reason, self.progress = Line(grey=True), QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setMaximumHeight(10)
        self.progress_text, self.results, self.messages = Line(), QLabel(), Line()
        self.results.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        for widget in (self.uncertainty, self.button, self.reason, self.progress, self.progress_text):
            layout.addWidget(widget)
        layout.addWidget(self.results)
        layout.addWidget(self.messages)
        layout.addStretch(1)

    def connect_to(self, actions: SegmentActions) -> None:
        """Say who does what the tab asks for."""
        self._actions = actions

    def draw(self, screen: SegmentScreen) -> None:
        """Show all of `screen`."""
        self.model.render(screen.models, screen.model)
        self.model_text.show_text(screen.model_text)
        self._render_channels(screen.rows)
        self.device.render(screen.devices, screen.device)
        (self.whole if screen.extent == "volume" else self.one).setChecked(True)
        if self.one.text() != screen.slice_text:
            self.one.setText(screen.slice_text)
        self.uncertainty.setChecked(screen.uncertainty)
        self._render_button(screen)
        self._render_progress(screen.busy)
        lines = "\n".join(f"{name}\t{size}" for name, size in screen.results)
        self.results.setText(lines)
        self.results.setVisible(bool(lines))
        self.messages.show_text("\n".join(message_text(message) for message in screen.messages))

    def _make_extent(self) -> QWidget:
        box = QWidget()
        row = QHBoxLayout(box)
        row.setContentsMargins(0, 0, 0, 0)
        self.whole, self.one = QRadioButton("volume"), QRadioButton("slice")
        self.one.setToolTip("Only the axial slice that the viewer stands on; the rest of the mask stays empty.")
        self.whole.clicked.connect(lambda: self._do("choose_extent", "volume"))
        self.one.clicked.connect(lambda: self._do("choose_extent", "slice"))
        row.addWidget(self.whole)
        row.addWidget(self.one)
        row.addStretch(1)
        return box

    def _render_channels(self, rows: tuple[ChannelRow, ...]) -> None:
        names = [row.channel for row in rows]
        if names != list(self._channels):
            for box, _ in self._channels.values():
                self._form.removeRow(box.widget.parentWidget())
            self._channels = {}
            for place, row in enumerate(rows):
                box = ChoiceBox(row.channel, partial(self._do, "choose_layer", row.channel))
                note = Line(grey=True)
                self._form.insertRow(1 + place, row.text, stacked(box.widget, note))
                self._channels[row.channel] = (box, note)
        for row in rows:
            box, note = self._channels[row.channel]
            box.render(row.choices, row.chosen)
            note.show_text(f"⚠ {row.note}" if row.note else "")

    def _render_button(self, screen: SegmentScreen) -> None:
        busy = screen.busy
        if busy is None:
            text, on = "Segment (Enter)", not screen.why_not
        else:
            text, on = ("Stopping…", False) if busy.stopping else ("Cancel", True)
        self.button.setText(text)
        self.button.setEnabled(on)
        self.button.setToolTip(screen.why_not)
        self.reason.show_text("" if busy else screen.why_not or screen.estimate)

    def _render_progress(self, busy: Busy | None) -> None:
        self.progress.setVisible(busy is not None)
        self.progress_text.show_text("" if busy is None or busy.stopping else busy.text)
        if busy is not None:
            show_share(self.progress, busy.fraction)

    def _do(self, action: str, *arguments: object) -> None:
        if self._actions is not None:
            getattr(self._actions, action)(*arguments)
