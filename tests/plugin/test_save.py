"""Saving layers through napari: the very grid of the source, or an honest one where there is no source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Labels
from plugin_cases import AFFINES, OBLIQUE, PLUGIN, SHAPE, STRAIGHT

from mambaseg.errors import MambaSegError
from mambaseg.volume import Label, LabelMap
from napari_mambaseg import show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.components import ViewerModel


def same_grid(one: Path, other: Path) -> None:
    """Both files have the same shape and the very same affine, header fields included."""
    first, second = nib.load(one), nib.load(other)
    assert first.shape == second.shape
    np.testing.assert_array_equal(first.affine, second.affine)
    for field in ("pixdim", "xyzt_units", "sform_code", "qform_code", "quatern_b", "quatern_c", "quatern_d"):
        np.testing.assert_array_equal(first.header[field], second.header[field])


@pytest.mark.parametrize("name", AFFINES)
def test_a_mask_comes_back_voxel_by_voxel(
    name: str, viewer: ViewerModel, save_nifti: Callable[..., Path], mask, tmp_path
):
    source = save_nifti(mask, AFFINES[name], "mask.nii.gz")
    (layer,) = viewer.open(source, plugin=PLUGIN)
    layer.save(str(tmp_path / "out.nii.gz"), plugin=PLUGIN)
    same_grid(source, tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj), mask)


@pytest.mark.parametrize("name", AFFINES)
def test_an_image_comes_back_voxel_by_voxel(
    name: str, viewer: ViewerModel, save_nifti: Callable[..., Path], scan, tmp_path
):
    source = save_nifti(scan, AFFINES[name])
    (layer,) = viewer.open(source, plugin=PLUGIN)
    layer.save(str(tmp_path / "out.nii"), plugin=PLUGIN)
    same_grid(source, tmp_path / "out.nii")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "out.nii").dataobj), scan)


@pytest.mark.parametrize("name", AFFINES)
def test_a_mask_saves_as_mgz(name: str, viewer: ViewerModel, save_nifti: Callable[..., Path], mask, tmp_path):
    (layer,) = viewer.open(save_nifti(mask, AFFINES[name], "mask.nii.gz"), plugin=PLUGIN)
    layer.save(str(tmp_path / "out.mgz"), plugin=PLUGIN)
    np.testing.assert_allclose(nib.load(tmp_path / "out.mgz").affine, AFFINES[name], atol=1e-4)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "out.mgz").dataobj), mask)


@pytest.mark.parametrize("name", AFFINES)
def test_what_is_painted_is_saved_at_that_voxel(
    name: str, viewer: ViewerModel, save_nifti: Callable[..., Path], mask, tmp_path
):
    (layer,) = viewer.open(save_nifti(mask, AFFINES[name], "mask.nii.gz"), plugin=PLUGIN)
    (spot,) = np.argwhere(layer.data == 3)
    layer.data_setitem(tuple(spot[:, None]), 7)
    layer.save(str(tmp_path / "out.nii.gz"), plugin=PLUGIN)
    mask[2, 3, 3] = 7
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj), mask)


def test_a_label_map_shows_its_names_and_colours(viewer: ViewerModel, mask):
    labels = {1: Label("tumour", "#ff0000"), 3: Label("vessel", "#0000ff")}
    (layer,) = show(viewer, LabelMap(mask, STRAIGHT["LPS"], labels), "case · tumour")
    assert list(layer.features["name"]) == ["background", "tumour", "vessel"]
    np.testing.assert_allclose(layer.get_color(1), (1, 0, 0, 1))
    np.testing.assert_allclose(layer.get_color(3), (0, 0, 1, 1))
    assert layer.get_color(9)[3] == 1, "a label the user adds must be seen"


def test_a_layer_goes_back_to_the_label_map_it_shows(viewer: ViewerModel, mask):
    from napari_mambaseg._layers import to_label_map

    labels = {1: Label("tumour", "#ff0000"), 3: Label("vessel", "#0000ff")}
    (layer,) = show(viewer, LabelMap(mask, OBLIQUE["oblique"], labels))
    data, meta, _ = layer.as_layer_data_tuple()
    back = to_label_map(data, meta)
    assert back.labels == labels
    np.testing.assert_array_equal(back.data, mask)
    np.testing.assert_array_equal(back.affine, OBLIQUE["oblique"])


@pytest.mark.parametrize("name", STRAIGHT)
def test_a_layer_of_unknown_origin_is_saved_where_it_is_shown(
    name: str, viewer: ViewerModel, save_nifti: Callable[..., Path], mask, tmp_path
):
    (layer,) = viewer.open(save_nifti(mask, STRAIGHT[name], "mask.nii.gz"), plugin=PLUGIN)
    placing = {key: getattr(layer, key) for key in ("scale", "translate", "units", "axis_labels")}
    Labels(np.array(layer.data), **placing).save(str(tmp_path / "out.nii.gz"), plugin=PLUGIN)
    saved = nib.load(tmp_path / "out.nii.gz")
    assert nib.aff2axcodes(saved.affine) == ("R", "A", "S")
    expected = nib.as_closest_canonical(nib.Nifti1Image(mask, STRAIGHT[name]))
    np.testing.assert_allclose(saved.affine, expected.affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), np.asarray(expected.dataobj))


def test_pixels_count_as_millimetres_and_other_units_are_converted(tmp_path: Path):
    data = np.ones((2, 3, 4), np.uint8)
    for units, expected in {"pixel": 2.0, "um": 0.002, "mm": 2.0, "cm": 20.0}.items():
        Labels(data, scale=(2, 2, 2), units=(units,) * 3).save(str(tmp_path / "out.nii"), plugin=PLUGIN)
        np.testing.assert_allclose(nib.load(tmp_path / "out.nii").header.get_zooms(), (expected,) * 3, rtol=1e-5)


@pytest.mark.parametrize("name", AFFINES)
def test_a_layer_that_was_moved_is_saved_at_its_new_place(
    name: str, viewer: ViewerModel, save_nifti: Callable[..., Path], mask, tmp_path
):
    (layer,) = viewer.open(save_nifti(mask, AFFINES[name], "mask.nii.gz"), plugin=PLUGIN)
    layer.translate = np.add(layer.translate, (1.0, 2.0, 4.0))
    layer.save(str(tmp_path / "out.nii.gz"), plugin=PLUGIN)
    saved = nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(saved.affine[:3, 3], AFFINES[name][:3, 3] - (4, 2, 1), atol=1e-4)
    np.testing.assert_allclose(saved.affine[:3, :3], AFFINES[name][:3, :3], atol=1e-4)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), mask)


@pytest.mark.parametrize("layer", [Labels(np.zeros((4, 4), int)), Labels(np.zeros((2, 3, 4, 4), int))])
def test_a_layer_that_is_no_volume_is_refused_in_one_sentence(layer: Labels, tmp_path: Path):
    with pytest.raises(MambaSegError, match="axes"):
        layer.save(str(tmp_path / "out.nii.gz"), plugin=PLUGIN)
    assert not list(tmp_path.iterdir())


def test_negative_labels_are_refused_in_one_sentence(tmp_path: Path):
    with pytest.raises(MambaSegError, match="-1"):
        Labels(np.full(SHAPE, -1)).save(str(tmp_path / "out.nii.gz"), plugin=PLUGIN)
