"""What napari.yaml names: builds model, view and controllers for a viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QApplication

from napari_mambaseg._controllers.data import DataController
from napari_mambaseg._controllers.doctor import DoctorController
from napari_mambaseg._controllers.segment import SegmentController
from napari_mambaseg._controllers.workplace import Workplace
from napari_mambaseg._engine import SHARED
from napari_mambaseg._memory import Memory
from napari_mambaseg._views.dock import MambaDock
from napari_mambaseg._views.runner import QtRunner

if TYPE_CHECKING:
    import napari


class MambaWidget(MambaDock):
    """The dock widget "Mamba segmentation".

    Parameters
    ----------
    viewer
        napari's, or a ViewerModel.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.workplace = workplace = Workplace(viewer, QtRunner(), SHARED, Memory())
        self.data_controller = DataController(workplace, self.data)
        self.segment_controller = SegmentController(workplace, self)
        self.doctor_controller = DoctorController(workplace, self.doctor)
        self.data.connect_to(self.data_controller)
        self.segment.connect_to(self.segment_controller)
        self.examine_asked.connect(self.doctor_controller.examine)
        self.segment_shown.connect(self.segment_controller.refresh_models)
        controllers = (self.data_controller, self.segment_controller, self.doctor_controller)
        application = QApplication.instance()

        def close(*_: object) -> None:
            # Slots of a widget that is being destroyed may not touch it: no `self` in here.
            if not workplace.closed:
                if application is not None:
                    application.aboutToQuit.disconnect(close)
                workplace.close()
                for controller in controllers:
                    controller.close()

        self._close = close
        self.destroyed.connect(close)
        # A window that is quit from the menu destroys nothing in time.
        if application is not None:
            application.aboutToQuit.connect(close)
        if any(row.name for row in self.data_controller.screen().rows):
            self.tabs.setCurrentIndex(1)

    def changeEvent(self, event: Any) -> None:
        """Stop the engine when napari takes the widget out of its window: it deletes the frame, not what is in it."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            QTimer.singleShot(0, self._close_if_taken_out)
        super().changeEvent(event)

    def _close_if_taken_out(self) -> None:
        if self.parent() is None:
            self._close()
            self.deleteLater()

    def closeEvent(self, event: Any) -> None:
        """Stop the engine when napari closes the dock widget."""
        self._close()
        super().closeEvent(event)
