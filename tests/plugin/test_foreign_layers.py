"""Layers from scripts and other readers: placed by scale, translation, rotation, affine and units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
from plugin_cases import PLUGIN, STRAIGHT, tilted

from mambaseg.errors import VolumeError
from mambaseg.volume import Volume
from napari_mambaseg import show
from napari_mambaseg._layer_list import meta_of, open_layers
from napari_mambaseg._layers import file_index, geometry_of, place_warning, to_volume
from napari_mambaseg._slices import axial_slice

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel

# napari's own, when it slices a turned layer.
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")

PLACES = {
    "nothing": {},
    "scale": {"scale": (3.0, 1.5, 1.0)},
    "flipped": {"scale": (-3.0, 1.5, 1.0), "translate": (40.0, -5.0, 2.0)},
    "turned": {"scale": (3.0, 1.5, 1.0), "rotate": tilted(20, 0)[:3, :3], "translate": (1.0, 2.0, 3.0)},
    "affine": {"affine": tilted(10, 1) @ np.diag([2.0, 1.0, 1.0, 1.0])},
    "scale and affine": {"scale": (3.0, 1.5, 1.0), "translate": (4.0, 5.0, 6.0), "affine": tilted(25, 2)},
    "centimetres": {"scale": (0.3, 0.15, 0.1), "units": ("cm",) * 3},
    "micrometres": {"scale": (3000.0, 1500.0, 1000.0), "units": ("um",) * 3},
}


@pytest.mark.parametrize("name", PLACES)
def test_a_marked_voxel_is_saved_where_napari_shows_it(viewer: ViewerModel, tmp_path: Path, name: str):
    data = np.zeros((8, 9, 10), np.float32)
    data[2, 3, 7] = 1
    layer = viewer.add_image(data, name="script", **PLACES[name])
    path = tmp_path / "out.nii.gz"
    layer.save(str(path), plugin=PLUGIN)
    image = nib.load(path)
    (voxel,) = np.argwhere(np.asarray(image.dataobj) == 1)
    world = nib.affines.apply_affine(image.affine, voxel)
    mm = {"centimetres": 10.0, "micrometres": 1e-3}.get(name, 1.0)
    shown = np.array(layer.data_to_world((2, 3, 7))) * mm
    np.testing.assert_allclose(world, -shown[::-1], atol=1e-4)


@pytest.mark.parametrize("name", PLACES)
def test_the_affine_is_known_without_the_voxels(viewer: ViewerModel, scan, name: str):
    layer = viewer.add_image(scan, name="script", **PLACES[name])
    affine, shape = geometry_of(layer)
    volume = to_volume(layer.data, meta_of(layer))
    np.testing.assert_array_equal(affine, volume.affine)
    assert shape == volume.shape


@pytest.mark.parametrize("name", PLACES)
def test_a_point_of_the_viewer_is_a_voxel_of_the_volume(viewer: ViewerModel, scan, name: str):
    layer = viewer.add_image(scan, name="script", **PLACES[name])
    volume = to_volume(layer.data, meta_of(layer))
    index = file_index(layer, layer.data_to_world((2, 3, 7)))
    assert volume.data[0][index] == scan[2, 3, 7]


@pytest.mark.parametrize("name", STRAIGHT)
def test_a_point_of_the_viewer_is_a_voxel_of_the_file(viewer: ViewerModel, scan, name: str):
    (layer,) = show(viewer, Volume(scan[None], STRAIGHT[name], ("flair",)))
    inside = np.array(layer.data.shape) - 3
    assert scan[file_index(layer, layer.data_to_world(inside))] == layer.data[tuple(inside)]


def test_a_point_outside_is_the_nearest_voxel(viewer: ViewerModel, scan):
    (layer,) = show(viewer, Volume(scan[None], STRAIGHT["RAS"], ("flair",)))
    assert axial_slice(layer, layer.data_to_world((-5, 0, 0))).shown == 0
    assert axial_slice(layer, layer.data_to_world((99, 0, 0))).shown == 9


def test_pixels_are_taken_as_mm_with_a_warning(viewer: ViewerModel, scan):
    layer = viewer.add_image(scan, scale=(3, 1, 1), name="script")
    assert place_warning(meta_of(layer)) == "its size in mm is not known: 1 pixel is taken as 1 mm"
    (listed,) = open_layers(viewer)
    assert listed.warning == place_warning(meta_of(layer))


def test_a_layer_in_mm_and_one_of_ours_have_no_warning(viewer: ViewerModel, scan):
    viewer.add_image(scan, units=("mm",) * 3, name="other reader")
    show(viewer, Volume(scan[None], STRAIGHT["RAS"], ("flair",)))
    assert [layer.warning for layer in open_layers(viewer)] == ["", ""]


def test_a_turned_layer_is_said_to_be_turned(viewer: ViewerModel, scan):
    viewer.add_image(scan, units=("mm",) * 3, rotate=tilted(20, 0)[:3, :3], name="turned")
    assert open_layers(viewer)[0].warning.startswith("it is turned or sheared: napari shows its slices straight")


def test_what_is_no_volume_says_so(viewer: ViewerModel):
    for data, reason in ((np.zeros((8, 9)), "2 axes"), (np.zeros((2, 8, 9, 10)), "4 axes")):
        layer = viewer.add_image(data, name="no volume")
        with pytest.raises(VolumeError, match=f"the layer no volume.* has {reason}; volumes have three axes"):
            geometry_of(layer)


def test_pyramids_are_taken_at_full_resolution(viewer: ViewerModel, scan):
    layer = viewer.add_image([scan, scan[::2, ::2, ::2]], multiscale=True, name="pyramid")
    assert geometry_of(layer)[1] == (10, 9, 8)
    assert to_volume(layer.data, meta_of(layer)).shape == (10, 9, 8)
