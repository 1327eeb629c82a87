# ruff: noqa: TID251 - napari and Qt are banned in the engine, not here
"""Drive the real window through the whole flow as a new user would, and leave a picture of each step.

python docs/tour.py [folder], or `make tour`. It ends with 1 if a step fails or a process of ours outlives the window.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

import psutil

from napari_mambaseg._benchmark_clocks import settle, wait_until
from napari_mambaseg._benchmark_mouse import drag

STEPS = (
    "open_the_widget", "look_at_empty_tabs", "open_the_sample", "look_at_the_choices", "segment", "show_uncertainty",
    "ask_the_doctor", "paint", "save_and_open_again", "choose_wrongly", "cancel", "segment_one_slice",
    "look_at_what_comes_later",
)  # fmt: skip


class Tour:
    """One window and the pictures of it."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        import napari

        self.folder, self.scratch, self.pictures = folder, scratch, 0
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(1240, 860)
        self.mask: Any = None
        self.widget: Any = None

    def photograph(self, name: str, what: Any = None) -> None:
        """Write a numbered picture of the window, or of one widget."""
        from qtpy.QtWidgets import QApplication

        settle(0.4)
        for widget in QApplication.allWidgets():
            if "Notification" in type(widget).__name__ and what is None:
                widget.close()
        self.pictures += 1
        path = self.folder / f"{self.pictures:02}_{name}.png"
        if what is not None:
            what.grab().save(str(path))
        else:
            self.viewer.screenshot(str(path), canvas_only=False, flash=False)
        print(f"  {path.name}")

    def open_the_widget(self) -> None:
        """Layers > Segment > Mamba segmentation, as the menu has it."""
        settle(1.0)
        action = in_menu(self.viewer.window._qt_window.menuBar(), "Layers", "Segment", "Mamba segmentation")
        action.trigger()
        settle()
        docks = [dock for name, dock in self.viewer.window.dock_widgets.items() if "Mamba segmentation" in name]
        assert docks, "the menu opened no dock widget"
        self.widget = next(one for one in (docks[0], *docks[0].children()) if hasattr(one, "segment_controller"))
        self.photograph("empty")

    def look_at_empty_tabs(self) -> None:
        """An empty tab says what to do first."""
        self.widget.tabs.setCurrentIndex(1)
        assert not self.widget.segment.button.isEnabled()
        assert "Open a volume" in self.widget.segment.reason.text()
        self.photograph("segment_empty")
        self.widget.tabs.setCurrentIndex(0)

    def open_the_sample(self) -> None:
        """One button."""
        self.widget.data.sample_button.click()
        wait_until(lambda: not self.widget.data.sample_button.isEnabled())
        self.photograph("sample_opening")
        wait_until(lambda: len(self.viewer.layers) == 3)
        self.photograph("sample")

    def look_at_the_choices(self) -> None:
        """All is chosen already."""
        self.widget.tabs.setCurrentIndex(1)
        assert self.widget.segment.button.isEnabled(), self.widget.segment.reason.text()
        self.photograph("segment")

    def segment(self) -> None:
        """Run, look at it in the middle, look at the result."""
        self.run("segmenting")
        self.mask = self.viewer.layers[-1]
        assert self.mask.name.endswith("· tumour")
        assert self.mask.data.any()
        self.viewer.dims.set_current_step(0, int((self.mask.data > 0).sum(axis=(1, 2)).argmax()))
        self.photograph("result")

    def run(self, name: str = "") -> None:
        """Press the button and wait; the new layers are on top."""
        before, segment = len(self.viewer.layers), self.widget.segment
        segment.button.click()
        if name:
            wait_until(lambda: segment.progress.value() > 0 or self.is_idle())
            self.photograph(name)
        wait_until(self.is_idle)
        assert len(self.viewer.layers) > before, segment.messages.text()

    def is_idle(self) -> bool:
        """Whether the button says Segment again."""
        return str(self.widget.segment.button.text()).startswith("Segment")

    def show_uncertainty(self) -> None:
        """Run again with a second layer."""
        self.widget.segment.uncertainty.click()
        self.run()
        assert any("uncertainty" in layer.name for layer in self.viewer.layers)
        self.photograph("uncertainty")
        self.widget.segment.uncertainty.click()
        for layer in self.viewer.layers[-2:]:
            layer.visible = False

    def ask_the_doctor(self) -> None:
        """A click on the line at the bottom."""
        self.widget.status.clicked.emit()
        settle()
        assert "versions" in self.widget.doctor.text.toPlainText()
        self.photograph("doctor", self.widget.doctor)
        self.widget.doctor.close()

    def paint(self) -> None:
        """A stroke with napari's brush, by the mouse."""
        from qtpy.QtWidgets import QApplication

        self.viewer.layers.selection.active = self.mask
        self.mask.mode, self.mask.brush_size = "paint", 8
        before = int((self.mask.data > 0).sum())
        settle()
        drag(QApplication.instance(), self.viewer.window._qt_viewer.canvas.native, turn=9)
        assert int((self.mask.data > 0).sum()) > before, "the mouse did not paint"
        self.mask.mode = "pan_zoom"
        self.photograph("stroke")

    def save_and_open_again(self) -> None:
        """File > Save Selected Layers, then the tab Data: voxel by voxel the same."""
        path = self.scratch / "corrected_mask.nii.gz"
        self.viewer.layers.selection = {self.mask}
        assert self.viewer.layers.save(str(path), selected=True, plugin="napari-mambaseg"), "nothing was saved"
        before = len(self.viewer.layers)
        self.widget.tabs.setCurrentIndex(0)
        self.widget.data_controller.open([str(path)])
        wait_until(lambda: len(self.viewer.layers) > before)
        again = self.viewer.layers[-1]
        assert again.data.shape == self.mask.data.shape
        assert (again.data == self.mask.data).all(), "the mask came back otherwise than it was saved"
        assert abs(again.translate - self.mask.translate).max() < 1e-4
        self.photograph("saved_and_opened")

    def choose_wrongly(self) -> None:
        """The same volume for two channels: a sentence, and no run."""
        self.widget.tabs.setCurrentIndex(1)
        flair, t1 = (self.widget.segment._channels[name][0].widget for name in ("flair", "t1"))
        kept = t1.currentIndex()
        t1.setCurrentIndex(flair.currentIndex())
        settle()
        assert not self.widget.segment.button.isEnabled()
        assert "is chosen for FLAIR and for T1" in self.widget.segment.reason.text()
        self.photograph("wrong_choice")
        t1.setCurrentIndex(kept)
        assert self.widget.segment.button.isEnabled()

    def cancel(self) -> None:
        """Nothing changes."""
        before = list(self.viewer.layers)
        self.widget.segment.button.click()
        settle(0.3)
        self.widget.segment.button.click()
        assert wait_until(self.is_idle) < 2, "cancel took too long"
        assert list(self.viewer.layers) == before
        self.photograph("cancelled")

    def segment_one_slice(self) -> None:
        """Only the slice on screen is filled."""
        self.widget.segment.one.click()
        self.run()
        shown = int(self.viewer.dims.current_step[0])
        filled = self.viewer.layers[-1].data.any(axis=(1, 2)).nonzero()[0].tolist()
        assert filled in ([shown], []), f"slices {filled} are filled, slice {shown} was shown"
        self.photograph("one_slice")

    def look_at_what_comes_later(self) -> None:
        """The last two tabs say when they come."""
        for index, name in ((2, "correct"), (3, "fine_tune")):
            self.widget.tabs.setCurrentIndex(index)
            self.photograph(name)


def in_menu(bar: Any, *texts: str) -> Any:
    """Return an entry of napari's menus, opened on the way as a person opens them."""
    entries = bar.actions()
    for depth, text in enumerate(texts):
        plain = {entry.text().replace("&", ""): entry for entry in entries if entry.isVisible()}
        found = next((entry for name, entry in plain.items() if text in name), None)
        assert found is not None, f"no {text!r} in the menu; there are {', '.join(plain)}"
        if depth == len(texts) - 1:
            return found
        found.menu().aboutToShow.emit()
        entries = found.menu().actions()
    raise AssertionError("no entry was asked for")


def processes() -> list[psutil.Process]:
    """Return what we started and what still runs."""
    return [one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]


def tell(when: str) -> int:
    """Print our processes; return how many there are."""
    found = processes()
    print(f"Processes {when}: {len(found) or 'none'}")
    for one in found:
        print("  " + " ".join(Path(word).name if "/" in word else word for word in one.cmdline())[:100])
    return len(found)


def main() -> None:
    """Take the tour with settings of its own: the user's stay as they are."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo/tour")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9]_*.png"):
        old.unlink()
    warnings.filterwarnings("ignore", "System theme detection")
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {"NAPARI_CONFIG": str(Path(scratch, "napari.yaml")), "MAMBASEG_HOME": scratch}
        tell("before the window is opened")
        tour = Tour(folder, Path(scratch))
        for step in STEPS:
            print(step.replace("_", " "))
            try:
                getattr(tour, step)()
            except Exception:
                traceback.print_exc()
                tour.photograph("FAILED")
                failed = True
                break
        tell("while the window is open")
        tour.viewer.close()
        settle(2.0)
        left = tell("after the window was closed")
    print("The tour FAILED" if failed or left else f"All is well; {tour.pictures} pictures are in {folder}")
    sys.exit(1 if failed or left else 0)


if __name__ == "__main__":
    main()
