"""The tab Data without Qt."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import FACTS, FakeShared, FakeView, StepRunner
from plugin_cases import STRAIGHT

from mambaseg.volume import LabelMap, Volume
from napari_mambaseg import show
from napari_mambaseg._controllers.data import DataController
from napari_mambaseg._controllers.doctor import DoctorController
from napari_mambaseg._controllers.workplace import Workplace
from napari_mambaseg._memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.components import ViewerModel


@pytest.fixture
def desk(viewer: ViewerModel, tmp_path: Path) -> SimpleNamespace:
    view, runner = FakeView(), StepRunner()
    place = Workplace(viewer, runner, FakeShared(), Memory(tmp_path / "window.json"))
    return SimpleNamespace(
        view=view, runner=runner, place=place, viewer=viewer, controller=DataController(place, view)
    )


def test_files_are_opened_and_listed(desk: SimpleNamespace, save_nifti: Callable[..., Path], scan, mask):
    image = save_nifti(scan, STRAIGHT["LPS"], "case_flair.nii.gz")
    labels = save_nifti(mask, STRAIGHT["LPS"], "case_mask.nii.gz")
    desk.controller.open([str(image), str(labels)])
    assert desk.view.screen.busy is not None
    desk.runner.finish()
    rows = desk.view.screen.rows
    assert [row.summary for row in rows] == ["8×9×10  1×1.5×3 mm  axial", "8×9×10  1×1.5×3 mm  axial  mask"]
    assert desk.view.screen.busy is None


def test_a_file_that_is_no_volume_is_one_sentence_and_nothing_is_opened(
    desk: SimpleNamespace, save_nifti: Callable[..., Path], scan, tmp_path: Path
):
    good, bad = save_nifti(scan, STRAIGHT["LPS"]), tmp_path / "notes.nii.gz"
    bad.write_text("hello")
    desk.controller.open([str(good), str(bad)])
    desk.runner.finish()
    assert desk.view.screen.message.tone == "error"
    assert "notes.nii.gz" in desk.view.screen.message.text
    assert len(desk.viewer.layers) == 0


def test_opening_can_be_cancelled(desk: SimpleNamespace, save_nifti: Callable[..., Path], scan):
    desk.controller.open([str(save_nifti(scan, STRAIGHT["LPS"]))])
    desk.controller.cancel()
    assert desk.view.screen.busy.stopping
    desk.runner.finish()
    assert desk.view.screen.message.text == "Stopped; nothing was opened."
    assert len(desk.viewer.layers) == 0


def test_a_second_opening_waits_for_the_first(desk: SimpleNamespace, save_nifti: Callable[..., Path], scan):
    path = str(save_nifti(scan, STRAIGHT["LPS"]))
    desk.controller.open([path])
    desk.controller.open([path])
    assert desk.view.screen.message.text == "Still opening; wait for that, or cancel it."
    desk.runner.finish()
    assert len(desk.viewer.layers) == 1


def test_another_grid_is_said_beside_the_volume(desk: SimpleNamespace, scan):
    show(desk.viewer, Volume(scan[None], STRAIGHT["RAS"], ("case7_flair",)))
    show(desk.viewer, Volume(scan[None], STRAIGHT["LPS"], ("case7_t1",)))
    assert [row.warning for row in desk.view.screen.rows] == ["", "other grid; will be resampled onto FLAIR"]


def test_what_is_no_volume_is_listed_with_the_reason(desk: SimpleNamespace):
    desk.viewer.add_image(np.zeros((8, 9, 3), np.uint8), rgb=True, name="photo")
    (row,) = desk.view.screen.rows
    assert row.summary == "cannot be segmented"
    assert "colours" in row.warning


def test_a_click_selects_the_layer_and_switches_it_on(desk: SimpleNamespace, scan, mask):
    (layer,) = show(desk.viewer, Volume(scan[None], STRAIGHT["RAS"], ("flair",)))
    show(desk.viewer, LabelMap(mask, STRAIGHT["RAS"]))
    layer.visible = False
    desk.controller.select(desk.view.screen.rows[0].key)
    assert layer.visible
    assert desk.viewer.layers.selection.active is layer


def test_the_doctor_is_asked_once(desk: SimpleNamespace):
    view = FakeView()
    doctor = DoctorController(desk.place, view)
    doctor.examine()
    assert "Starting the engine" in view.text
    desk.runner.finish()
    assert view.text == FACTS["text"]
    view.text = ""
    doctor.examine()
    assert view.text == FACTS["text"]


def test_a_home_that_cannot_be_written_is_no_reason_to_complain(tmp_path: Path):
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "window.json")
    memory.keep(model="mine")
    assert memory.get("model") == "mine"


def test_a_damaged_memory_is_forgotten(tmp_path: Path):
    (tmp_path / "window.json").write_text("{")
    memory = Memory(tmp_path / "window.json")
    memory.keep(model="mine")
    assert Memory(tmp_path / "window.json").get("model") == "mine"
