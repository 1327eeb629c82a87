"""The widgets: what they show of a screen, and what they pass on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

from napari_mambaseg._screens import (
    Busy,
    ChannelRow,
    Choice,
    DataScreen,
    Message,
    SegmentScreen,
    StatusScreen,
    VolumeRow,
)
from napari_mambaseg._views.data import DataTab
from napari_mambaseg._views.dock import MambaDock
from napari_mambaseg._views.segment import SegmentTab

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

LAYERS = (Choice("– none –", ""), Choice("case7_flair", "a"), Choice("case7_t1", "b"))
SCREEN = SegmentScreen(
    models=(Choice("brain-tumour 1.0", "m1"), Choice("mine 2.0", "m2")),
    model="m1",
    model_text="tumour, from FLAIR (+T1)",
    rows=(ChannelRow("flair", "FLAIR", LAYERS, "a"), ChannelRow("t1", "T1", LAYERS, "", "other grid")),
    devices=(Choice("automatic", "auto"), Choice("CPU", "cpu")),
    slice_text="slice 77",
)


class Recorder:
    """Keeps what a view asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def __getattr__(self, name: str):
        return lambda *arguments: self.asked.append((name, *arguments))


@pytest.fixture
def tab(qtbot: QtBot) -> tuple[SegmentTab, Recorder]:
    tab, recorder = SegmentTab(), Recorder()
    tab.connect_to(recorder)
    qtbot.addWidget(tab)
    tab.show()
    tab.draw(SCREEN)
    return tab, recorder


def boxes(tab: SegmentTab) -> dict[str, object]:
    return {name: box.widget for name, (box, _) in tab._channels.items()}


def test_drawing_asks_for_nothing(tab):
    assert tab[1].asked == []


def test_choices_are_passed_on_by_key(tab):
    widget, recorder = tab
    widget.model.widget.setCurrentIndex(1)
    widget.device.widget.setCurrentIndex(1)
    boxes(widget)["t1"].setCurrentIndex(2)
    boxes(widget)["t1"].setCurrentIndex(0)
    widget.one.click()
    widget.whole.click()
    widget.uncertainty.click()
    assert recorder.asked == [
        ("choose_model", "m2"),
        ("choose_device", "cpu"),
        ("choose_layer", "t1", "b"),
        ("choose_layer", "t1", ""),
        ("choose_extent", "slice"),
        ("choose_extent", "volume"),
        ("choose_uncertainty", True),
    ]


def test_enter_presses_the_button(tab, qtbot: QtBot):
    widget, recorder = tab
    with qtbot.waitActive(widget):
        widget.activateWindow()
    widget.button.setFocus()
    qtbot.keyClick(widget.button, Qt.Key.Key_Return)
    assert recorder.asked == [("press",)]


def test_a_button_that_is_off_says_why(tab):
    widget, recorder = tab
    widget.draw(SegmentScreen(why_not="Open a volume in Data, then segment it here."))
    assert not widget.button.isEnabled()
    assert widget.button.toolTip() == widget.reason.text() == "Open a volume in Data, then segment it here."
    widget.button.click()
    assert recorder.asked == []


def test_run_turns_into_cancel_and_cancel_into_stopping(tab):
    widget, _ = tab
    from dataclasses import replace

    texts = []
    for busy in (None, Busy("58 %   3 s left", 0.58), Busy("Stopping…", None, stopping=True), None):
        widget.draw(replace(SCREEN, busy=busy))
        texts.append((widget.button.text(), widget.button.isEnabled(), widget.progress.isVisible()))
    assert texts == [
        ("Segment (Enter)", True, False),
        ("Cancel", True, True),
        ("Stopping…", False, True),
        ("Segment (Enter)", True, False),
    ]


def test_tone_is_a_sign_not_only_a_colour(tab):
    widget, _ = tab
    widget.draw(SegmentScreen(messages=(Message("done"), Message("look", "warning"), Message("no", "error"))))
    assert widget.messages.text() == "done\n⚠ look\n✕ no"


def test_other_channels_replace_the_rows(tab):
    widget, _ = tab
    widget.draw(SegmentScreen(rows=(ChannelRow("t2", "T2", LAYERS, "b"),)))
    assert list(boxes(widget)) == ["t2"]
    assert boxes(widget)["t2"].currentText() == "case7_t1"


def test_files_dropped_on_the_tab_are_opened(qtbot: QtBot):
    tab, recorder = DataTab(), Recorder()
    tab.connect_to(recorder)
    qtbot.addWidget(tab)
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile("/data/a.nii.gz"), QUrl("https://example.org/b.nii")])
    place = QPointF(3, 3)
    position = place if hasattr(QDropEvent, "position") else place.toPoint()
    event = QDropEvent(
        position, Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    tab.dropEvent(event)
    assert recorder.asked == [("open", ["/data/a.nii.gz"])]


def test_the_list_shows_names_sizes_and_warnings(qtbot: QtBot):
    tab, recorder = DataTab(), Recorder()
    tab.connect_to(recorder)
    qtbot.addWidget(tab)
    tab.draw(DataScreen(rows=(VolumeRow("k", "case7_t1", "8×9×10  1 mm  axial", "other grid"),), selected="k"))
    assert tab.list.item(0).text() == "case7_t1\n8×9×10  1 mm  axial\n⚠ other grid"
    tab.list.itemClicked.emit(tab.list.item(0))
    assert recorder.asked == [("select", "k")]


def test_a_click_on_the_line_at_the_bottom_asks_for_the_doctor(qtbot: QtBot):
    dock = MambaDock()
    qtbot.addWidget(dock)
    dock.show()
    dock.draw_status(StatusScreen("CPU (no CUDA device found) · torch · brain-tumour 1.0", True, "Click"))
    with qtbot.waitSignal(dock.examine_asked, timeout=1000):
        qtbot.mouseClick(dock.status, Qt.MouseButton.LeftButton)
    dock.doctor.show_text("python 3")
    assert dock.doctor.text.toPlainText() == "python 3"


@pytest.mark.parametrize("width", [320, 480])
def test_nothing_is_wider_than_the_dock(qtbot: QtBot, width: int):
    dock = MambaDock()
    qtbot.addWidget(dock)
    dock.resize(width, 700)
    dock.show()
    long = Choice("a_very_long_name_of_a_volume_as_hospitals_export_them_t2_flair_axial_0001", "a")
    rows = (ChannelRow("flair", "FLAIR", (long,), "a", "its size in mm is not known: 1 pixel is taken as 1 mm"),)
    dock.draw(SegmentScreen(models=(long,), model="a", rows=rows, why_not="x " * 80, messages=(Message("y " * 80),)))
    dock.draw_status(StatusScreen("GPU: NVIDIA RTX PRO 6000 Blackwell · triton · brain-tumour 1.0", False, ""))
    assert dock.width() == width
    for index in range(dock.tabs.count()):
        dock.tabs.setCurrentIndex(index)
        assert dock.tabs.currentWidget().width() <= width
    assert dock.segment.minimumSizeHint().width() <= width
