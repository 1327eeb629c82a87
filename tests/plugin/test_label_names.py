"""Names and colours of labels travel with a mask; several layers are saved at once; oblique volumes are announced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from plugin_cases import AFFINES, OBLIQUE, PLUGIN, STRAIGHT, tilted

from mambaseg.errors import FileError, VolumeError
from mambaseg.label_table import read_label_table
from mambaseg.volume import Label, LabelMap, Volume
from napari_mambaseg import show
from napari_mambaseg._layers import label_map_of
from napari_mambaseg._reader import read_layers
from napari_mambaseg._writer import write_layers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.components import ViewerModel

NAMES = {1: Label("tumour", "#e69f00"), 3: Label("oedema", "#56b4e9")}


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(notification_manager, "dispatch", lambda notification: said.append(notification.message))
    return said


@pytest.mark.parametrize("extension", [".nii.gz", ".mgz"])
def test_names_and_colours_come_back_with_the_mask(viewer: ViewerModel, mask, tmp_path: Path, extension: str):
    (layer,) = show(viewer, LabelMap(mask, STRAIGHT["PIL"], NAMES))
    path = tmp_path / f"corrected{extension}"
    assert layer.save(str(path), plugin=PLUGIN) == [str(path), str(tmp_path / "corrected.tsv")]
    (again,) = viewer.open(str(path), plugin=PLUGIN)
    np.testing.assert_array_equal(again.data, layer.data)
    assert list(again.features["name"]) == ["background", "tumour", "oedema"]
    np.testing.assert_allclose(again.get_color(3), layer.get_color(3))


def test_a_table_makes_a_mask_of_a_file_with_any_name(save_nifti: Callable[..., Path], mask, tmp_path: Path):
    path = save_nifti(mask, STRAIGHT["LPS"], "anna.nii.gz")
    assert read_layers(str(path))[0][2] == "image"
    (tmp_path / "anna.tsv").write_text("index\tname\tcolor\n1\ttumour\t#e69f00\n")
    assert read_layers(str(path))[0][2] == "labels"


def test_a_table_does_not_make_a_mask_of_fractions(save_nifti: Callable[..., Path], scan, tmp_path: Path):
    path = save_nifti(scan, STRAIGHT["LPS"], "anna.nii.gz")
    (tmp_path / "anna.tsv").write_text("index\tname\n1\ttumour\n")
    assert read_layers(str(path))[0][2] == "image"


def test_a_damaged_table_is_said_and_the_mask_opens(save_nifti: Callable[..., Path], mask, tmp_path, notices):
    path = save_nifti(mask, STRAIGHT["LPS"], "anna_mask.nii.gz")
    (tmp_path / "anna_mask.tsv").write_text("subject\tage\n1\t40\n")
    assert read_layers(str(path))[0][2] == "labels"
    assert len(notices) == 1
    assert "anna_mask.tsv beside anna_mask.nii.gz is no table of labels" in notices[0]


def test_a_table_of_somebody_else_stops_the_writing_before_it_begins(viewer: ViewerModel, mask, tmp_path: Path):
    (layer,) = show(viewer, LabelMap(mask, STRAIGHT["LPS"], NAMES))
    (tmp_path / "out.tsv").write_text("subject\tage\n1\t40\n")
    with pytest.raises(FileError, match="no table of labels"):
        layer.save(str(tmp_path / "out.nii.gz"), plugin=PLUGIN)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.tsv"]


@pytest.mark.parametrize("name", AFFINES)
def test_several_layers_are_saved_each_on_its_own_grid(viewer: ViewerModel, scan, mask, tmp_path: Path, name: str):
    affine = AFFINES[name]
    show(viewer, Volume(np.stack([scan, scan * 2]), affine, ("flair", "t1")))
    show(viewer, LabelMap(mask, affine, NAMES), name="flair · tumour")
    saved = viewer.layers.save(str(tmp_path / "case.nii.gz"), plugin=PLUGIN)
    names = ["case_flair.nii.gz", "case_t1.nii.gz", "case_flair_tumour.nii.gz", "case_flair_tumour.tsv"]
    assert saved == [str(tmp_path / each) for each in names]
    for file, wanted in zip(names, (scan, scan * 2, mask), strict=False):
        image = nib.load(tmp_path / file)
        np.testing.assert_array_equal(np.asarray(image.dataobj), wanted)
        np.testing.assert_allclose(image.affine, affine, atol=1e-5)


def test_saving_several_layers_picks_our_writer_without_being_asked(viewer: ViewerModel, scan, mask, tmp_path: Path):
    show(viewer, Volume(scan[None], STRAIGHT["RAS"], ("flair",)))
    show(viewer, LabelMap(mask, STRAIGHT["RAS"]), name="mask")
    viewer.layers.save(str(tmp_path / "case.nii.gz"))
    assert sorted(path.name for path in tmp_path.glob("case*")) == ["case_flair.nii.gz", "case_mask.nii.gz"]


def test_names_that_fall_together_are_refused_before_anything_is_written(scan, tmp_path: Path):
    layers = [(scan, {"name": name}, "image") for name in ("t1 a", "t1/a")]
    with pytest.raises(FileError, match=r"two layers would be saved as case_t1_a.nii; give them names that differ"):
        write_layers(str(tmp_path / "case.nii"), layers)
    assert not list(tmp_path.glob("case*"))


def test_a_layer_that_is_no_volume_stops_the_others_too(scan, tmp_path: Path):
    layers = [(scan, {"name": "flair"}, "image"), (scan[0], {"name": "slide"}, "image")]
    with pytest.raises(VolumeError, match="the layer slide has 2 axes"):
        write_layers(str(tmp_path / "case.nii"), layers)
    assert not list(tmp_path.glob("case*"))


def test_an_unknown_extension_is_refused(scan, tmp_path: Path):
    with pytest.raises(FileError, match="unknown extension; give a name ending in"):
        write_layers(str(tmp_path / "case.tif"), [(scan, {"name": "flair"}, "image")] * 2)


@pytest.mark.parametrize("name", OBLIQUE)
def test_an_oblique_volume_is_announced_once(save_nifti: Callable[..., Path], scan, notices, name: str):
    four = np.stack([scan, scan], axis=-1)
    read_layers(str(save_nifti(four, OBLIQUE[name])))
    assert len(notices) == 1
    assert "is oblique" in notices[0]
    assert "saved exactly as it was" in notices[0]


@pytest.mark.parametrize("affine", [*STRAIGHT.values(), tilted(0.2, 0) @ STRAIGHT["RAS"]])
def test_a_straight_volume_is_not(save_nifti: Callable[..., Path], scan, notices, affine):
    read_layers(str(save_nifti(scan, affine)))
    assert notices == []


def test_the_angle_is_said_in_degrees(save_nifti: Callable[..., Path], scan, notices):
    read_layers(str(save_nifti(scan, tilted(20, 0) @ STRAIGHT["LPS"])))
    assert "(20° from the body's axes)" in notices[0]


def test_names_from_features_and_colours_from_the_colormap_are_saved(viewer: ViewerModel, mask, tmp_path: Path):
    features = {"index": [0, 1, 3, 9], "name": ["background", "grey matter", "white matter", None]}
    colors = {None: "gray", 0: "transparent", 1: "#ff0000", 3: "#00ff00"}
    layer = viewer.add_labels(mask, features=features, colormap=colors, name="script")
    layer.save(str(tmp_path / "out.nii"), plugin=PLUGIN)
    expected = {1: Label("grey matter", "#ff0000"), 3: Label("white matter", "#00ff00")}
    assert read_label_table(tmp_path / "out.nii") == expected
    assert label_map_of(layer).labels == expected


def test_a_name_that_the_user_changed_is_saved_with_the_old_colour(viewer: ViewerModel, mask):
    (layer,) = show(viewer, LabelMap(mask, STRAIGHT["LPS"], NAMES))
    layer.features = layer.features.assign(name=["background", "tumour core", "oedema"])
    assert label_map_of(layer).labels == {1: Label("tumour core", "#e69f00"), 3: NAMES[3]}


def test_colours_are_kept_while_only_one_label_is_shown(viewer: ViewerModel, mask):
    (layer,) = show(viewer, LabelMap(mask, STRAIGHT["LPS"], NAMES))
    layer.selected_label = 3
    layer.show_selected_label = True
    assert label_map_of(layer).labels == NAMES


def test_names_without_a_colormap_of_their_own_get_the_colours_on_screen(viewer: ViewerModel, mask):
    layer = viewer.add_labels(mask, features={"index": [1], "name": ["tumour"]})
    red, green, blue = (round(float(part) * 255) for part in layer.get_color(1)[:3])
    assert label_map_of(layer).labels == {1: Label("tumour", f"#{red:02x}{green:02x}{blue:02x}")}


def test_features_of_other_kinds_name_nothing(viewer: ViewerModel, mask, tmp_path: Path):
    layer = viewer.add_labels(mask, features={"index": [0, 1, 3], "area": [5.0, 2.0, 1.0]}, name="measured")
    assert layer.save(str(tmp_path / "out.nii"), plugin=PLUGIN) == [str(tmp_path / "out.nii")]


def test_an_empty_table_makes_a_mask_too(save_nifti: Callable[..., Path], mask, tmp_path: Path):
    path = save_nifti(mask, STRAIGHT["LPS"], "anna.nii.gz")
    (tmp_path / "anna.tsv").write_text("index\tname\tcolor\n")
    assert read_layers(str(path))[0][2] == "labels"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_tilt_that_can_be_seen_is_said(save_nifti: Callable[..., Path], scan, notices, axis: int):
    read_layers(str(save_nifti(scan, tilted(0.6, axis) @ STRAIGHT["SLP"])))
    assert "(0.6° from the body's axes)" in notices[0]
