# ruff: noqa: TID251 - napari and Qt are banned in the engine, not here
"""Write the pictures in docs/images from the real window: run it by `make screenshots`, and look at them.

napari.png is what `make demo` shows; segment-dark.png and segment-light.png the tab Segment after a run in both
themes; narrow-320.png the four tabs at the least width; scale-200.png the window on a screen with large pixels.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from napari_mambaseg._benchmark_clocks import settle, wait_until
from napari_mambaseg._demo import make_case, open_window, photograph

if TYPE_CHECKING:
    from napari import Viewer

IMAGES = Path(__file__).parent / "images"
MOST_BYTES = 250_000
NARROW, TALL = 320, 720
# The window at twice its size must fit.
_LARGE_SCREEN = ("xvfb-run", "-a", "-s", "-screen 0 2560x1800x24")


def segmented_window(size: tuple[int, int] = (1240, 860)) -> tuple[Viewer, Any, Any]:
    """Open napari with the dock widget, open the sample there and segment it; return viewer, dock and widget."""
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window.resize(*size)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-mambaseg", "Mamba segmentation")
    widget.data.sample_button.click()
    wait_until(lambda: len(viewer.layers) == 3, seconds=60)
    widget.tabs.setCurrentIndex(1)
    widget.segment.button.click()
    wait_until(lambda: widget.segment.button.text().startswith("Segment"))
    if len(viewer.layers) == 3:
        raise RuntimeError(widget.segment.messages.text())
    mask = viewer.layers[-1]
    viewer.dims.set_current_step(0, int((mask.data > 0).sum(axis=(1, 2)).argmax()))
    close_notices()
    return viewer, dock, widget


def close_notices() -> None:
    """Take napari's notices ("PyQt5 is deprecated") from the picture."""
    from qtpy.QtWidgets import QApplication

    settle()
    for widget in QApplication.allWidgets():
        if "Notification" in type(widget).__name__:
            widget.close()
    settle()


def whole_window(viewer: Viewer, name: str) -> None:
    """Photograph the window."""
    close_notices()
    viewer.reset_view()
    viewer.screenshot(str(IMAGES / name), canvas_only=False, flash=False)
    make_small(IMAGES / name)


def narrow(dock: Any, widget: Any, folder: Path) -> None:
    """Photograph the four tabs beside one another, as narrow as they have to work."""
    dock.setFloating(True)
    dock.setFixedSize(NARROW, TALL)
    picture = Image.new("RGB", (4 * NARROW + 3 * 12, TALL), "white")
    for index in range(4):
        widget.tabs.setCurrentIndex(index)
        settle()
        dock.grab().save(str(folder / "tab.png"))
        picture.paste(Image.open(folder / "tab.png"), (index * (NARROW + 12), 0))
    picture.save(IMAGES / "narrow-320.png")
    make_small(IMAGES / "narrow-320.png")


def make_small(path: Path) -> None:
    """Take as many of 256 colours as it needs for a picture that loads fast."""
    picture = Image.open(path).convert("RGB")
    picture.save(path, optimize=True)
    for colours in (256, 128, 64):
        if path.stat().st_size <= MOST_BYTES:
            return
        picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)


def at_double_size() -> None:
    """Do it all again in a process of its own: Qt asks for the scale only once."""
    virtual = _LARGE_SCREEN if shutil.which(_LARGE_SCREEN[0]) else ()
    command = [*virtual, sys.executable, __file__, "scale-200.png"]
    subprocess.run(command, env={**os.environ, "QT_SCALE_FACTOR": "2"}, check=True)


def main() -> None:
    """Write all pictures, with settings of their own; or the one whose name is given, of the window as it is."""
    warnings.filterwarnings("ignore", "System theme detection")
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"NAPARI_CONFIG": str(Path(home, "napari.yaml")), "MAMBASEG_HOME": home}
        if len(sys.argv) > 1:
            viewer, _, _ = segmented_window()
            whole_window(viewer, sys.argv[1])
            viewer.close()
            return
        demo = open_window(*make_case(Path(home)))
        photograph(demo, IMAGES / "napari.png")
        make_small(IMAGES / "napari.png")
        demo.close()
        viewer, dock, widget = segmented_window()
        whole_window(viewer, "segment-dark.png")
        viewer.theme = "light"
        whole_window(viewer, "segment-light.png")
        viewer.theme = "dark"
        narrow(dock, widget, Path(home))
        viewer.close()
        at_double_size()


if __name__ == "__main__":
    main()
