"""Opening files through napari, by our reader."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Image, Labels
from plugin_cases import AFFINES, OBLIQUE, PLUGIN, SHAPE, STRAIGHT

from mambaseg.errors import MambaSegError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.components import ViewerModel


def test_a_volume_opens_with_millimetres_and_named_axes(viewer: ViewerModel, save_nifti: Callable[..., Path], scan):
    (layer,) = viewer.open(save_nifti(scan, STRAIGHT["LPS"]), plugin=PLUGIN)
    assert isinstance(layer, Image)
    np.testing.assert_allclose(layer.scale, (3.0, 1.5, 1.0))
    assert [f"{unit:~}" for unit in layer.units] == ["mm", "mm", "mm"]
    assert viewer.dims.axis_labels == ("I", "P", "L")
    assert layer.name == "case"


@pytest.mark.parametrize("name", STRAIGHT)
def test_a_voxel_is_shown_where_the_affine_says(name: str, viewer: ViewerModel, save_nifti: Callable[..., Path]):
    affine = STRAIGHT[name]
    data = np.zeros(SHAPE, np.float32)
    data[2, 3, 4] = 1
    (layer,) = viewer.open(save_nifti(data, affine), plugin=PLUGIN)
    (index,) = np.argwhere(layer.data)
    inferior, posterior, left = layer.data_to_world(index)
    np.testing.assert_allclose((-left, -posterior, -inferior), (affine @ (2, 3, 4, 1))[:3], atol=1e-5)


@pytest.mark.parametrize("name", AFFINES)
def test_anterior_is_up_and_left_is_right(name: str, viewer: ViewerModel, save_nifti: Callable[..., Path]):
    affine = AFFINES[name]
    world = nib.affines.apply_affine(affine, np.moveaxis(np.indices(SHAPE), 0, -1)).astype(np.float32)
    paths = [save_nifti(world[..., axis], affine, f"{axis}.nii.gz") for axis in range(3)]
    right, anterior, superior = (viewer.open(path, plugin=PLUGIN)[0].data for path in paths)
    assert np.diff(superior, axis=0).max() < 0
    assert np.diff(anterior, axis=1).max() < 0
    assert np.diff(right, axis=2).max() < 0


@pytest.mark.parametrize("name", OBLIQUE)
def test_an_oblique_volume_keeps_its_centre(name: str, viewer: ViewerModel, save_nifti: Callable[..., Path], scan):
    (layer,) = viewer.open(save_nifti(scan, OBLIQUE[name]), plugin=PLUGIN)
    shown = layer.data_to_world((np.array(layer.data.shape) - 1) / 2)
    centre = OBLIQUE[name] @ np.append((np.array(SHAPE) - 1) / 2, 1)
    np.testing.assert_allclose(-np.array(shown)[::-1], centre[:3], atol=1e-4)


@pytest.mark.parametrize("name", ["case_dseg", "case-seg", "MASK", "sub-1_label", "labels", "aseg"])
def test_whole_numbers_in_a_file_named_as_a_mask_open_as_labels(
    name: str, viewer: ViewerModel, save_nifti: Callable[..., Path], mask
):
    (layer,) = viewer.open(save_nifti(mask.astype(np.int16), STRAIGHT["RAS"], f"{name}.nii"), plugin=PLUGIN)
    assert isinstance(layer, Labels)
    assert sorted(np.unique(layer.data)) == [0, 1, 3]


@pytest.mark.parametrize("name", ["case", "segovia", "unmasked", "labelled"])
def test_whole_numbers_in_another_file_open_as_an_image(
    name: str, viewer: ViewerModel, save_nifti: Callable[..., Path], mask
):
    (layer,) = viewer.open(save_nifti(mask, STRAIGHT["RAS"], f"{name}.nii"), plugin=PLUGIN)
    assert isinstance(layer, Image)


def test_fractions_open_as_an_image_whatever_the_name_says(viewer: ViewerModel, save_nifti: Callable[..., Path], scan):
    (layer,) = viewer.open(save_nifti(scan, STRAIGHT["RAS"], "mask.nii"), plugin=PLUGIN)
    assert isinstance(layer, Image)


def test_a_file_of_four_dimensions_opens_as_one_layer_per_channel(
    viewer: ViewerModel, save_nifti: Callable[..., Path], scan
):
    both = np.stack([scan, scan + 1000], axis=-1)
    layers = viewer.open(save_nifti(both, STRAIGHT["LPS"]), plugin=PLUGIN)
    assert [layer.name for layer in layers] == ["case_0", "case_1"]
    assert [layer.ndim for layer in layers] == [3, 3]
    assert [layer.visible for layer in layers] == [True, False]
    assert layers[1].contrast_limits[0] > layers[0].contrast_limits[1]


def test_bright_specks_do_not_dim_the_image(viewer: ViewerModel, save_nifti: Callable[..., Path], scan):
    scan[0, 0, 0] = 1e6
    (layer,) = viewer.open(save_nifti(scan, STRAIGHT["RAS"]), plugin=PLUGIN)
    assert layer.contrast_limits[1] < 300


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan])
def test_a_volume_of_one_value_opens(value: float, viewer: ViewerModel, save_nifti: Callable[..., Path]):
    (layer,) = viewer.open(save_nifti(np.full(SHAPE, value, np.float32), STRAIGHT["RAS"]), plugin=PLUGIN)
    low, high = layer.contrast_limits
    assert low < high


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".hdr", ".img", ".mgz", ".mgh"])
def test_every_format_opens(extension: str, viewer: ViewerModel, tmp_path: Path, scan):
    kind = {".hdr": nib.Nifti1Pair, ".img": nib.Nifti1Pair, ".mgz": nib.MGHImage, ".mgh": nib.MGHImage}
    path = tmp_path / f"case{extension}"
    nib.save(kind.get(extension, nib.Nifti1Image)(scan, STRAIGHT["LPS"]), path)
    (layer,) = viewer.open(path, plugin=PLUGIN)
    np.testing.assert_array_equal(np.sort(layer.data, axis=None), np.sort(scan, axis=None))


def test_a_damaged_file_ends_in_one_sentence(viewer: ViewerModel, tmp_path: Path):
    path = tmp_path / "case.nii.gz"
    path.write_bytes(b"this is no volume")
    with pytest.raises(MambaSegError) as caught:
        viewer.open(path, plugin=PLUGIN)
    assert "\n" not in str(caught.value)
    assert "case.nii.gz" in str(caught.value)
    assert not viewer.layers


def test_other_files_are_left_to_other_plugins():
    from napari_mambaseg._reader import get_reader

    assert get_reader("picture.png") is None
    assert get_reader(["a.nii", "picture.png"]) is None
    assert get_reader(["a.nii", "b.MGZ"]) is not None


def test_the_sample_is_a_brain_in_three_contrasts(viewer: ViewerModel):
    layers = viewer.open_sample(PLUGIN, "synthetic-brain")
    assert [layer.name for layer in layers] == [f"Synthetic brain {each}" for each in ("flair", "t1", "t1c")]
    assert all(layer.data.std() > 0 for layer in layers)


def test_reading_and_writing_loads_neither_torch_nor_qt(save_nifti: Callable[..., Path], mask):
    path = save_nifti(mask, STRAIGHT["LPS"], "mask.nii.gz")
    script = f"""
import sys
from napari_mambaseg._reader import get_reader
((data, meta, kind),) = get_reader({str(path)!r})({str(path)!r})
from napari_mambaseg._writer import write_labels
write_labels({str(path)!r}, data, meta)
heavy = {{"torch", "monai", "qtpy", "PyQt5", "PyQt6", "PySide6"}} & set(sys.modules)
sys.exit(f"loaded: {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
