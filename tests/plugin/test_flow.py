"""Whole flows in a real window with the real engine in its child process."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest
from plugin_cases import PLUGIN

from mambaseg.synthetic import synthetic_brain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytestqt.qtbot import QtBot

START = 60_000  # ms: the child loads torch on a machine that may be busy


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def window(make_napari_viewer: Callable, qtbot: QtBot):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 800)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Mamba segmentation")
    return viewer, widget


def segmented(viewer, widget, qtbot: QtBot):
    """Press the button and return the new mask."""
    before = len(viewer.layers)
    widget.segment.button.click()
    qtbot.waitUntil(lambda: widget.segment.button.text().startswith("Segment"), timeout=START)
    assert len(viewer.layers) > before, widget.segment.messages.text()
    return viewer.layers[-1]


def test_from_the_sample_to_a_saved_mask_and_back(window, qtbot: QtBot, tmp_path: Path):
    viewer, widget = window
    widget.data.sample_button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=START)
    widget.tabs.setCurrentIndex(1)
    truth = synthetic_brain(seed=0).truth
    empty = viewer.screenshot(flash=False)[..., :3].astype(int)
    mask = segmented(viewer, widget, qtbot)
    assert mask.name == "Synthetic brain flair · tumour"
    assert widget.status.text() == "CPU (no CUDA device found) · torch · brain-tumour 1.0"

    # The right place, by voxels: napari's world of the mask against the truth's own affine.
    shown = np.argwhere(mask.data > 0)
    world = -np.array([mask.data_to_world(index) for index in shown[:: max(1, len(shown) // 400)]])[:, ::-1]
    ijk = np.rint(np.c_[world, np.ones(len(world))] @ np.linalg.inv(truth.affine).T)[:, :3].astype(int)
    assert (truth.data[tuple(ijk.T)] > 0).mean() > 0.6

    # The right place, by eye: the picture differs where the mask is and nowhere else.
    fullest = int((mask.data > 0).sum(axis=(1, 2)).argmax())
    mask.visible = False
    viewer.dims.set_current_step(0, fullest)
    qtbot.wait(100)
    without = viewer.screenshot(flash=False)[..., :3].astype(int)
    mask.visible = True
    qtbot.wait(100)
    with_mask = viewer.screenshot(flash=False)[..., :3].astype(int)
    differs = np.abs(with_mask - without).sum(axis=-1) > 30
    assert empty.shape == without.shape
    rows, columns = np.nonzero(differs)
    camera = viewer.scene.camera
    centre = np.array(mask.data_to_world([fullest, *np.argwhere(mask.data[fullest] > 0).mean(axis=0)]))[1:]
    expected = (centre - np.array(camera.center)[1:]) * camera.zoom + np.array(differs.shape) / 2
    assert abs(rows.mean() - expected[0]) < 25
    assert abs(columns.mean() - expected[1]) < 25

    # A stroke, saved and read again.
    mask.brush_size, mask.selected_label = 6, 1
    before = int((mask.data > 0).sum())
    mask.paint((fullest, 5, 5), 1)
    assert int((mask.data > 0).sum()) > before
    saved = tmp_path / "corrected_mask.nii.gz"
    mask.save(str(saved), plugin=PLUGIN)
    (again,) = viewer.open(str(saved), plugin=PLUGIN)
    np.testing.assert_array_equal(again.data, mask.data)
    np.testing.assert_allclose(again.translate, mask.translate)


def test_the_engine_stays_warm_and_ends_with_the_window(window, qtbot: QtBot):
    viewer, widget = window
    flair = synthetic_brain(seed=1, shape=(80, 96, 20), spacing_mm=(2.0, 2.0, 6.0)).volume
    from napari_mambaseg import show

    show(viewer, flair)
    segmented(viewer, widget, qtbot)
    pid = widget.workplace.engine.pid
    assert alive(pid)
    segmented(viewer, widget, qtbot)
    assert widget.workplace.engine.pid == pid
    viewer.close()
    qtbot.waitUntil(lambda: not alive(pid), timeout=5000)


def test_killing_the_engine_in_the_middle_is_one_message_and_the_next_run_works(window, qtbot: QtBot):
    viewer, widget = window
    from napari_mambaseg import show

    show(viewer, synthetic_brain(seed=1).volume)
    widget.segment.button.click()
    qtbot.waitUntil(lambda: widget.workplace.engine.pid is not None, timeout=START)
    os.kill(widget.workplace.engine.pid, 9)
    qtbot.waitUntil(lambda: widget.segment.button.text().startswith("Segment"), timeout=START)
    assert widget.segment.messages.text().startswith("✕ The engine")
    assert "\n" not in widget.segment.messages.text()
    segmented(viewer, widget, qtbot)


def test_cancel_stops_a_run_and_leaves_the_layers(window, qtbot: QtBot):
    viewer, widget = window
    from napari_mambaseg import show

    show(viewer, synthetic_brain(seed=1).volume)
    before = list(viewer.layers)
    widget.segment.button.click()
    qtbot.waitUntil(lambda: widget.segment.progress.maximum() > 0, timeout=START)
    widget.segment.button.click()
    assert widget.segment.button.text() == "Stopping…"
    qtbot.waitUntil(lambda: widget.segment.button.text().startswith("Segment"), timeout=5000)
    assert widget.segment.messages.text() == "Stopped; nothing was changed."
    assert list(viewer.layers) == before


def test_the_widget_opens_twice_without_harm(window, qtbot: QtBot):
    viewer, first = window
    _, second = viewer.window.add_plugin_dock_widget(PLUGIN, "Mamba segmentation")
    from napari_mambaseg import show

    show(viewer, synthetic_brain(seed=1, shape=(80, 96, 20), spacing_mm=(2.0, 2.0, 6.0)).volume)
    segmented(viewer, first, qtbot)
    segmented(viewer, second, qtbot)


def test_closing_the_viewer_during_a_run_leaves_no_process(window, qtbot: QtBot):
    viewer, widget = window
    from napari_mambaseg import show

    show(viewer, synthetic_brain(seed=1).volume)
    widget.segment.button.click()
    engine = widget.workplace.engine
    qtbot.waitUntil(lambda: engine.pid is not None, timeout=START)
    pid = engine.pid
    viewer.close()
    qtbot.waitUntil(lambda: not alive(pid), timeout=5000)


def test_a_closed_widget_leaves_no_thread_and_no_object_behind(make_napari_viewer: Callable, qtbot: QtBot):
    viewer = make_napari_viewer()
    before = {thread.name for thread in threading.enumerate()}
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Mamba segmentation")
    from napari_mambaseg import show

    show(viewer, synthetic_brain(seed=1, shape=(80, 96, 20), spacing_mm=(2.0, 2.0, 6.0)).volume)
    segmented(viewer, widget, qtbot)
    workplace = weakref.ref(widget.workplace)
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: workplace() is None or workplace().closed, timeout=5000)
    del dock, widget
    qtbot.waitUntil(lambda: {thread.name for thread in threading.enumerate()} <= before | {"Dummy-1"}, timeout=5000)

    def gone() -> bool:
        gc.collect()
        return workplace() is None

    qtbot.waitUntil(gone, timeout=5000)
