# ruff: noqa: T201 - a script that tells its user what it does
"""`make demo`: draw a brain with a tumour, segment it, and show both in napari."""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mambaseg.errors import MambaSegError
from mambaseg.files import write
from mambaseg.jobs import Job
from mambaseg.registry import load_model
from mambaseg.segment import segment
from mambaseg.synthetic import synthetic_brain
from mambaseg.volume import Volume
from napari_mambaseg._layers import show

if TYPE_CHECKING:
    from napari import Viewer

    from mambaseg.volume import LabelMap


def make_case(folder: Path) -> tuple[Volume, LabelMap]:
    """Draw a case, segment it, and leave case_flair.nii.gz, … and case_mask.nii.gz in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    volume = synthetic_brain(seed=3).volume
    for number, channel in enumerate(volume.channels):
        one = Volume(volume.data[number : number + 1], volume.affine, (channel,), volume.stored)
        write(one, folder / f"case_{channel}.nii.gz")
    begun = time.perf_counter()
    model = load_model()
    found = Job(lambda: segment(volume, model)).run()
    write(found.labels, folder / "case_mask.nii.gz")
    sizes = ", ".join(f"{name} {ml:.1f} ml" for name, ml in found.labels.volumes_ml().items())
    print(f"Segmented with {model.title} on {found.device} in {time.perf_counter() - begun:.1f} s: {sizes}")
    return volume, found.labels


def open_window(volume: Volume, mask: LabelMap, visible: bool = True) -> Viewer:
    """Open napari on the slice with most of the mask."""
    warnings.filterwarnings("ignore", "System theme detection")  # napari says so at each start on PyQt5.
    import napari  # Only here: the case is made and segmented before anything of Qt is loaded.

    viewer = napari.Viewer(title="Mamba segmentation", show=visible)
    show(viewer, volume, name="case")
    (layer,) = show(viewer, mask, name="case · tumour")
    layer.opacity = 0.5
    fullest = int((layer.data > 0).sum(axis=(1, 2)).argmax())
    viewer.dims.set_current_step(0, fullest)
    # Which way the axes point: L is the patient's left.
    viewer.scene.overlays.axes.visible = True
    viewer.canvas.overlays.scale_bar.visible = True
    return viewer


def photograph(viewer: Viewer, path: Path) -> None:
    """Write a picture of the whole window."""
    from qtpy.QtWidgets import QApplication

    viewer.window.resize(1240, 860)
    for _ in range(20):  # The canvas follows the new size only after some turns of the event loop.
        QApplication.processEvents()
        time.sleep(0.02)
    for widget in QApplication.allWidgets():
        if "Notification" in type(widget).__name__:  # "PyQt5 is deprecated", over the middle of the picture.
            widget.close()
    viewer.reset_view()
    viewer.screenshot(str(path), canvas_only=False, flash=False)


def main() -> None:
    """Run the demo; with --screenshot it leaves a picture and ends by itself."""
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("folder", type=Path, help="where to put the case")
    parser.add_argument("--screenshot", action="store_true", help="leave screenshot.png there and end")
    given = parser.parse_args()
    try:
        volume, mask = make_case(given.folder)
    except MambaSegError as error:
        raise SystemExit(f"make demo: {error}") from None
    print(f"The mask: {given.folder / 'case_mask.nii.gz'}")
    import napari

    viewer = open_window(volume, mask)
    if given.screenshot:
        picture = given.folder / "screenshot.png"
        photograph(viewer, picture)
        print(f"No screen here, so here is a picture of the window: {picture}")
        viewer.close()
    else:
        print("napari is open; close its window to end.")
        napari.run()


if __name__ == "__main__":
    main()
