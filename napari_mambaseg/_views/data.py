"""The tab Data, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QListWidget, QListWidgetItem, QProgressBar, QPushButton, QWidget

from napari_mambaseg._views.parts import Line, column, message_text, show_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QDragEnterEvent, QDropEvent

    from napari_mambaseg._screens import DataScreen, VolumeRow

_HINT = "Drop MRI files here (NIfTI or FreeSurfer MGZ), open them, or try the sample brain."
_FILTER = "MRI volumes (*.nii *.nii.gz *.mgz *.mgh *.hdr *.img);;All files (*)"


class DataActions(Protocol):
    """What the tab asks for."""

    def open(self, paths: Sequence[str]) -> None: ...
    def open_sample(self) -> None: ...
    def cancel(self) -> None: ...
    def select(self, key: str) -> None: ...


class DataTab(QWidget):
    """A place to drop files, two buttons, what is open."""

    def __init__(self) -> None:
        super().__init__()
        self._actions: DataActions | None = None
        self._rows: tuple[VolumeRow, ...] | None = None
        self.setAcceptDrops(True)
        layout = column(self)
        self.hint = Line()
        self.hint.show_text(_HINT)
        self.open_button, self.sample_button = QPushButton("Open…"), QPushButton("Sample brain")
        self.sample_button.setToolTip("A drawn brain with a tumour; nobody's data.")
        self.cancel_button = QPushButton("Cancel")
        self.progress, self.message, self.list = QProgressBar(), Line(), QListWidget()
        self.progress.setTextVisible(False)
        self.progress.setMaximumHeight(10)
        self.progress_text = Line()
        self.list.setWordWrap(True)
        self.list.setSpacing(2)
        self.list.setTextElideMode(Qt.TextElideMode.ElideNone)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        buttons = QHBoxLayout()
        buttons.addWidget(self.open_button)
        buttons.addWidget(self.sample_button)
        layout.addWidget(self.hint)
        layout.addLayout(buttons)
        for widget in (self.progress, self.progress_text, self.cancel_button, self.message):
            layout.addWidget(widget)
        layout.addWidget(self.list, 1000)
        layout.addStretch(1)  # Keeps the rest at the top while the list is hidden.
        self.open_button.clicked.connect(self._ask)
        self.sample_button.clicked.connect(lambda: self._do("open_sample"))
        self.cancel_button.clicked.connect(lambda: self._do("cancel"))
        self.list.itemClicked.connect(lambda item: self._do("select", item.data(Qt.ItemDataRole.UserRole)))

    def connect_to(self, actions: DataActions) -> None:
        """Say who does what the tab asks for."""
        self._actions = actions

    def draw(self, screen: DataScreen) -> None:
        """Show all of `screen`."""
        if screen.rows != self._rows:
            self._rows = screen.rows
            self.list.clear()
            for row in screen.rows:
                text = f"{row.name}\n{row.summary}" + (f"\n⚠ {row.warning}" if row.warning else "")
                item = QListWidgetItem(text)
                item.setData(Qt.ItemDataRole.UserRole, row.key)
                self.list.addItem(item)
        for number, row in enumerate(screen.rows):
            item = self.list.item(number)
            item.setSelected(row.key == screen.selected)
            font = item.font()
            font.setBold(row.key == screen.selected)  # The themes' own mark of a selected row is faint.
            item.setFont(font)
        self.list.setVisible(bool(screen.rows))
        busy = screen.busy
        self.open_button.setEnabled(busy is None)
        self.sample_button.setEnabled(busy is None)
        self.progress.setVisible(busy is not None)
        self.cancel_button.setVisible(busy is not None)
        self.progress_text.show_text(busy.text if busy else "")
        if busy is not None:
            self.cancel_button.setEnabled(not busy.stopping)
            show_share(self.progress, busy.fraction)
        self.message.show_text(message_text(screen.message))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the files."""
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        event.acceptProposedAction()
        self._do("open", paths)

    def _ask(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Open MRI volumes", "", _FILTER)
        self._do("open", paths)

    def _do(self, action: str, *arguments: object) -> None:
        if self._actions is not None:
            getattr(self._actions, action)(*arguments)
