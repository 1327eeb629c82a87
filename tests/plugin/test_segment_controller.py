"""The tab Segment without Qt: a fake view, a fake engine, a viewer without a window."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import FakeShared, FakeView, StepRunner
from plugin_cases import OBLIQUE, STRAIGHT

from mambaseg.errors import FileError, ModelError
from mambaseg.volume import Volume
from napari_mambaseg import show
from napari_mambaseg._controllers.segment import SegmentController
from napari_mambaseg._controllers.workplace import Workplace
from napari_mambaseg._memory import Memory

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel


@pytest.fixture
def desk(viewer: ViewerModel, tmp_path: Path) -> SimpleNamespace:
    """The tab with everything around it."""
    view, shared, runner = FakeView(), FakeShared(), StepRunner()
    place = Workplace(viewer, runner, shared, Memory(tmp_path / "window.json"))
    controller = SegmentController(place, view)
    return SimpleNamespace(
        view=view, shared=shared, runner=runner, place=place, controller=controller, viewer=viewer, engine=shared.engine
    )


def volume(scan: np.ndarray, *channels: str, affine: np.ndarray = STRAIGHT["RAS"]) -> Volume:
    return Volume(np.stack([scan + number for number in range(len(channels))]), affine, channels)


def texts(desk: SimpleNamespace) -> str:
    return "\n".join(message.text for message in desk.view.screen.messages)


def test_an_empty_viewer_says_what_to_do_first(desk: SimpleNamespace):
    assert desk.view.screen.why_not == "Open a volume in Data, then segment it here."


def test_one_flair_volume_is_chosen_by_itself(desk: SimpleNamespace, scan: np.ndarray):
    (layer,) = show(desk.viewer, volume(scan, "case7_flair"))
    row = desk.view.screen.rows[0]
    assert (row.text, row.chosen, desk.view.screen.why_not) == ("FLAIR", str(layer.unique_id), "")


def test_a_volume_without_a_clue_in_its_name_is_taken_for_what_is_needed(desk: SimpleNamespace, scan: np.ndarray):
    show(desk.viewer, volume(scan, "scan"))
    assert [bool(row.chosen) for row in desk.view.screen.rows] == [True, False, False]


def test_a_t1_alone_is_not_taken_for_a_flair(desk: SimpleNamespace, scan: np.ndarray):
    show(desk.viewer, volume(scan, "case7_t1"))
    assert desk.view.screen.why_not == "Choose the FLAIR volume: this model needs it."


def test_channels_of_another_patient_are_not_mixed_in(desk: SimpleNamespace, scan: np.ndarray):
    show(desk.viewer, volume(scan, "anna_flair"))
    other = STRAIGHT["RAS"] @ np.diag([2.0, 2, 2, 1])
    show(desk.viewer, volume(scan, "berta_t1", affine=other))
    assert [bool(row.chosen) for row in desk.view.screen.rows] == [True, False, False]


def test_a_run_adds_the_mask_in_the_place_of_the_volume(desk: SimpleNamespace, scan: np.ndarray):
    (layer,) = show(desk.viewer, volume(scan, "case7_flair"))
    desk.controller.press()
    desk.runner.finish()
    mask = desk.viewer.layers[-1]
    assert mask.name == "case7_flair · tumour"
    np.testing.assert_array_equal(mask.data, layer.data > 110)
    np.testing.assert_allclose(mask.translate, layer.translate)
    np.testing.assert_allclose(mask.scale, layer.scale)
    ml = (scan > 110).sum() * 1.0 * 1.5 * 3.0 / 1000
    assert desk.view.screen.results == (("tumour", f"{ml:.1f} ml"),)
    assert desk.view.screen.busy is None


@pytest.mark.parametrize("name", OBLIQUE)
def test_the_engine_gets_the_volume_on_its_own_grid(desk: SimpleNamespace, scan: np.ndarray, name: str):
    show(desk.viewer, volume(scan, "flair", "t1", affine=OBLIQUE[name]))
    desk.controller.press()
    desk.runner.finish()
    (request,) = desk.engine.requests
    assert request.volume.channels == ("flair", "t1")
    np.testing.assert_array_equal(request.volume.affine, OBLIQUE[name])
    np.testing.assert_array_equal(request.volume.data, volume(scan, "flair", "t1").data)


def test_a_second_run_adds_a_second_mask(desk: SimpleNamespace, scan: np.ndarray):
    show(desk.viewer, volume(scan, "flair"))
    for _ in range(2):
        desk.controller.press()
        desk.runner.finish()
    assert [layer.name for layer in desk.viewer.layers] == ["flair", "flair · tumour", "flair · tumour [1]"]


def test_progress_has_a_share_and_the_button_turns_into_cancel(desk: SimpleNamespace, scan: np.ndarray):
    show(desk.viewer, volume(scan, "flair"))
    desk.controller.press()
    shares = []
    while desk.runner.step():
        if desk.view.screen.busy.fraction is not None:
            shares.append(desk.view.screen.busy.fraction)
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_cancel_says_stopping_and_leaves_everything_as_it_was(desk: SimpleNamespace, scan: np.ndarray):
    show(desk.viewer, volume(scan, "flair"))
    desk.controller.press()
    desk.runner.step()
    desk.controller.press()
    assert desk.view.screen.busy.stopping
    desk.runner.finish()
    assert [layer.name for layer in desk.viewer.layers] == ["flair"]
    assert texts(desk) == "Stopped; nothing was changed."


def test_the_next_run_works_after_an_error_of_the_engine(desk: SimpleNamespace, scan: np.ndarray):
    show(desk.viewer, volume(scan, "flair"))
    desk.engine.error = FileError("the disk is full; free 12 MB in the folder for temporary files")
    desk.controller.press()
    desk.runner.finish()
    assert texts(desk) == "The disk is full; free 12 MB in the folder for temporary files."
    assert desk.view.screen.messages[0].tone == "error"
    assert len(desk.viewer.layers) == 1
    desk.engine.error = None
    desk.controller.press()
    desk.runner.finish()
    assert len(desk.viewer.layers) == 2


def test_a_fault_of_ours_is_one_sentence_too(desk: SimpleNamespace, scan: np.ndarray, caplog: pytest.LogCaptureFixture):
    show(desk.viewer, volume(scan, "flair"))
    desk.engine.error = ZeroDivisionError("oh")
    desk.controller.press()
    desk.runner.finish()
    assert "a fault of ours (ZeroDivisionError: oh); please report it" in texts(desk)
    assert "Traceback" not in texts(desk)


def test_only_the_slice_on_screen_is_asked_for(desk: SimpleNamespace, scan: np.ndarray):
    # PIL: i to posterior, j to inferior, k to left; the axial axis is j and runs as the layer does.
    show(desk.viewer, volume(scan, "flair", affine=STRAIGHT["PIL"]))
    desk.controller.choose_extent("slice")
    desk.viewer.dims.set_current_step(0, 2)
    assert desk.view.screen.slice_text == "slice 2"
    desk.controller.press()
    desk.runner.finish()
    assert desk.engine.requests[0].only_slice == 2


def test_the_slice_is_axial_whatever_is_on_screen(desk: SimpleNamespace, scan: np.ndarray):
    # RAS: the axial axis is k and runs upwards, the layer downwards.
    show(desk.viewer, volume(scan, "flair", affine=STRAIGHT["RAS"]))
    desk.viewer.dims.order = (1, 0, 2)
    desk.viewer.dims.set_current_step(0, 3)
    desk.controller.choose_extent("slice")
    desk.controller.press()
    desk.runner.finish()
    assert desk.engine.requests[0].only_slice == 10 - 1 - 3


def test_uncertainty_is_a_layer_below_the_mask_and_never_an_input(desk: SimpleNamespace, scan: np.ndarray):
    show(desk.viewer, volume(scan, "flair"))
    desk.controller.choose_uncertainty(True)
    desk.controller.press()
    desk.runner.finish()
    assert [layer.name for layer in desk.viewer.layers] == ["flair", "flair · uncertainty", "flair · tumour"]
    assert [choice.text for choice in desk.view.screen.rows[0].choices] == ["– none –", "flair"]


def test_a_renamed_layer_stays_chosen(desk: SimpleNamespace, scan: np.ndarray):
    _, second = show(desk.viewer, volume(scan, "flair", "t1"))
    desk.controller.choose_layer("t1c", str(second.unique_id))
    desk.controller.choose_layer("t1", "")
    second.name = "after contrast"
    row = desk.view.screen.rows[2]
    assert row.chosen == str(second.unique_id)
    assert "after contrast" in [choice.text for choice in row.choices]


def test_a_chosen_layer_that_is_deleted_is_chosen_anew(desk: SimpleNamespace, scan: np.ndarray):
    first, second = show(desk.viewer, volume(scan, "flair", "flair2"))
    desk.controller.choose_layer("flair", str(second.unique_id))
    desk.viewer.layers.remove(second)
    assert desk.view.screen.rows[0].chosen == str(first.unique_id)


def test_reordered_layers_stay_chosen(desk: SimpleNamespace, scan: np.ndarray):
    show(desk.viewer, volume(scan, "flair", "t1", "t1c"))
    before = [row.chosen for row in desk.view.screen.rows]
    desk.viewer.layers.move(0, 3)
    assert [row.chosen for row in desk.view.screen.rows] == before


# Bad input ----------------------------------------------------------------------------------------------------------


def test_running_without_a_layer_is_one_sentence(desk: SimpleNamespace):
    desk.controller.press()
    assert texts(desk) == "Open a volume in Data, then segment it here."
    assert not desk.engine.requests


def test_an_rgb_layer_is_refused_with_a_sentence(desk: SimpleNamespace):
    desk.viewer.add_image(np.zeros((8, 9, 10, 3), np.uint8), rgb=True, name="photo")
    assert "photo has colours" in desk.view.screen.why_not


def test_a_2d_layer_is_refused_with_a_sentence(desk: SimpleNamespace):
    desk.viewer.add_image(np.zeros((8, 9)), name="slide")
    assert "slide has 2 axes; volumes have three" in desk.view.screen.why_not


def test_a_layer_of_another_grid_is_said_beside_it(desk: SimpleNamespace, scan: np.ndarray):
    show(desk.viewer, volume(scan, "flair"))
    show(desk.viewer, volume(scan, "t1", affine=STRAIGHT["LPS"]))
    t1 = desk.view.screen.rows[1]
    assert t1.note == "other grid; will be resampled onto FLAIR"


def test_one_layer_for_two_channels_is_refused(desk: SimpleNamespace, scan: np.ndarray):
    (layer,) = show(desk.viewer, volume(scan, "case7_flair"))
    desk.controller.choose_layer("t1", str(layer.unique_id))
    assert "case7_flair is chosen for FLAIR and for T1" in desk.view.screen.why_not
    desk.controller.press()
    assert "case7_flair is chosen for FLAIR and for T1" in texts(desk)
    assert not desk.engine.requests


def test_two_layers_for_one_channel_are_said_until_one_is_chosen(desk: SimpleNamespace, scan: np.ndarray):
    first, _ = show(desk.viewer, volume(scan, "case7_flair", "case8_flair"))
    assert desk.view.screen.rows[0].note == "2 volumes could be FLAIR: is this the right one?"
    desk.controller.choose_layer("flair", str(first.unique_id))
    assert desk.view.screen.rows[0].note == ""


def test_a_layer_deleted_while_the_run_goes_on_is_said(desk: SimpleNamespace, scan: np.ndarray):
    (layer,) = show(desk.viewer, volume(scan, "flair"))
    desk.controller.press()
    desk.runner.step()
    desk.viewer.layers.remove(layer)
    desk.runner.finish()
    assert "Flair was removed while it was being segmented; the mask lies where it was." in texts(desk)
    assert [one.name for one in desk.viewer.layers] == ["flair · tumour"]


def test_a_layer_changed_while_the_run_goes_on_is_said(desk: SimpleNamespace, scan: np.ndarray):
    (layer,) = show(desk.viewer, volume(scan, "flair"))
    desk.controller.press()
    desk.runner.step()
    layer.data = layer.data * 2
    desk.runner.finish()
    assert "was changed while it was being segmented" in texts(desk)


def test_a_model_removed_from_disk_is_one_sentence(
    desk: SimpleNamespace, scan: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import shutil

    from mambaseg.registry import SHIPPED

    home = tmp_path / "home"
    monkeypatch.setenv("MAMBASEG_HOME", str(home))
    mine = home / "models" / "mine" / "2.0"
    shutil.copytree(SHIPPED / "brain-tumour" / "1.0", mine)
    card = (mine / "model.json").read_text().replace('"brain-tumour"', '"mine"', 1)
    (mine / "model.json").write_text(card)
    show(desk.viewer, volume(scan, "flair"))
    desk.controller.refresh_models()
    desk.controller.choose_model(str(mine))
    shutil.rmtree(mine)
    desk.controller.press()
    assert texts(desk) == "The model mine 1.0 was removed from disk; choose another one, or put it back."
    assert not desk.engine.requests


def test_an_error_of_the_model_is_shown_as_it_is(desk: SimpleNamespace, scan: np.ndarray):
    show(desk.viewer, volume(scan, "flair"))
    desk.engine.error = ModelError("the weights of mine 2.0 are damaged; install the model again")
    desk.controller.press()
    desk.runner.finish()
    assert texts(desk) == "The weights of mine 2.0 are damaged; install the model again."


def test_a_layer_of_no_known_size_has_a_warning(desk: SimpleNamespace, scan: np.ndarray):
    desk.viewer.add_image(scan, name="flair")
    assert "1 pixel is taken as 1 mm" in desk.view.screen.rows[0].note


# The rest of the window ---------------------------------------------------------------------------------------------


def test_the_line_at_the_bottom_is_amber_on_the_cpu(desk: SimpleNamespace, scan: np.ndarray):
    assert desk.view.status.text == "Engine not started yet · brain-tumour 1.0"
    show(desk.viewer, volume(scan, "flair"))
    desk.controller.press()
    desk.runner.finish()
    assert desk.view.status.text == "CPU (no CUDA device found) · torch · brain-tumour 1.0"
    assert desk.view.status.amber


def test_an_estimate_appears_after_a_measured_run_and_is_remembered(
    desk: SimpleNamespace, scan: np.ndarray, tmp_path: Path
):
    show(desk.viewer, volume(scan, "flair"))
    assert desk.view.screen.estimate == ""
    desk.controller.press()
    desk.runner.finish()
    assert desk.view.screen.estimate == "A run takes about 1 s."
    place = Workplace(desk.viewer, desk.runner, desk.shared, Memory(tmp_path / "window.json"))
    again = SegmentController(place, FakeView())
    assert again.screen().estimate == "A run takes about 1 s."


def test_after_closing_nothing_reaches_the_view_or_the_viewer(desk: SimpleNamespace, scan: np.ndarray):
    show(desk.viewer, volume(scan, "flair"))
    desk.controller.press()
    desk.runner.step()
    desk.place.close()
    desk.controller.close()
    shown = desk.view.screen
    desk.runner.finish()
    desk.viewer.layers[0].name = "else"
    assert desk.view.screen is shown
    assert len(desk.viewer.layers) == 1
    assert desk.engine.closed


def test_napari_ending_the_worker_counts_as_a_cancel(desk: SimpleNamespace, scan: np.ndarray):
    show(desk.viewer, volume(scan, "flair"))
    desk.controller.press()
    desk.runner.step()
    desk.runner.abort()
    assert texts(desk) == "Stopped; nothing was changed."
    assert desk.view.screen.busy is None
