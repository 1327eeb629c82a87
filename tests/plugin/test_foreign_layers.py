"""Layers from scripts and other readers: placed by scale, translation, rotation, affine and units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask.array as da
import nibabel as nib
import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.utils._proxies import PublicOnlyProxy
from plugin_cases import PLUGIN, STRAIGHT, tilted

from mambaseg.errors import VolumeError
from mambaseg.volume import Volume
from napari_mambaseg import show
from napari_mambaseg._layer_list import meta_of, open_layers
from napari_mambaseg._layers import file_index, geometry_of, label_map_of, place_warning, to_volume, volume_of
from napari_mambaseg._place import SIDES_ASSUMED
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
    said = f"its size in mm is not known: 1 pixel is taken as 1 mm; {SIDES_ASSUMED}"
    assert place_warning(meta_of(layer)) == said
    (listed,) = open_layers(viewer)
    assert listed.warning == place_warning(meta_of(layer))


def test_only_the_sides_of_a_layer_in_mm_are_assumed_and_nothing_of_ours(viewer: ViewerModel, scan):
    viewer.add_image(scan, units=("mm",) * 3, name="other reader")
    show(viewer, Volume(scan[None], STRAIGHT["RAS"], ("flair",)))
    assert [layer.warning for layer in open_layers(viewer)] == [SIDES_ASSUMED, ""]


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


def test_colours_are_no_volume(viewer: ViewerModel):
    layer = viewer.add_image(np.zeros((8, 9, 10, 3), np.uint8), rgb=True, name="photos")
    with pytest.raises(VolumeError, match="the layer photos has colours; volumes have three axes and one value"):
        volume_of(layer)


def test_arrays_on_disk_are_read_only_when_voxels_are_asked_for(viewer: ViewerModel, scan):
    asked = []

    def block(block_info=None) -> np.ndarray:
        asked.append(block_info)
        return scan

    lazy = da.map_blocks(block, chunks=scan.shape, dtype=scan.dtype, meta=scan[:0, :0, :0])
    layer = Image(lazy, scale=(3, 1, 1), contrast_limits=(0, 200), name="lazy")
    asked.clear()
    assert geometry_of(layer)[1] == (10, 9, 8)
    assert asked == []
    np.testing.assert_array_equal(volume_of(layer).data[0], scan.T[::-1, ::-1, ::-1])


def test_layers_behind_the_proxy_of_napari_are_taken_by_public_names_only(viewer: ViewerModel, scan, mask):
    image = viewer.add_image([scan, scan[::2, ::2, ::2]], multiscale=True, name="pyramid")
    labels = viewer.add_labels(mask, name="mask")
    for layer in (image, labels):
        behind = PublicOnlyProxy(layer)
        assert geometry_of(behind)[1] == (10, 9, 8)
        assert file_index(behind, (0, 0, 0)) == (9, 8, 7)
    assert volume_of(PublicOnlyProxy(image)).shape == (10, 9, 8)
    assert label_map_of(PublicOnlyProxy(labels)).volumes_ml() == label_map_of(labels).volumes_ml()


def test_a_point_is_counted_in_the_units_of_the_viewer(viewer: ViewerModel, scan):
    layer = viewer.add_image(scan, scale=(3.0, 1.5, 1.0), units=("mm",) * 3)
    viewer.add_image(scan, units=("um",) * 3)
    viewer.dims.point = (6_000.0, 4_500.0, 7_000.0)
    index = file_index(layer, viewer.dims.point, viewer.layers.units)
    assert volume_of(layer).data[0][index] == scan[2, 3, 7]


def test_units_that_are_no_lengths_are_named(viewer: ViewerModel, scan):
    layer = viewer.add_image(scan, units=("second", "mm", "mm"))
    assert place_warning(meta_of(layer)) == f"its size in mm is not known: 1 second is taken as 1 mm; {SIDES_ASSUMED}"
    inches = viewer.add_image(scan, units=("inch",) * 3)
    assert place_warning(meta_of(inches)) == SIDES_ASSUMED
    np.testing.assert_allclose(volume_of(inches).spacing_mm, (25.4,) * 3)


def test_axes_that_an_affine_permutes_are_saved_where_they_lie(tmp_path: Path, mask):
    permuted = np.array([[0, 0, 2.0, 1], [1.5, 0, 0, 2], [0, -1.0, 0, 3], [0, 0, 0, 1]])
    layer = Labels(mask, affine=permuted, units=("mm",) * 3, name="permuted")
    layer.save(str(tmp_path / "out.nii.gz"), plugin=PLUGIN)
    image = nib.load(tmp_path / "out.nii.gz")
    (voxel,) = np.argwhere(np.asarray(image.dataobj) == 3)
    np.testing.assert_allclose(nib.affines.apply_affine(image.affine, voxel), -(permuted @ (2, 3, 3, 1))[2::-1])
    assert str(place_warning(meta_of(layer))).startswith("it is turned or sheared")


def test_what_the_header_leaves_open_is_said_beside_the_name(viewer: ViewerModel, tmp_path: Path, scan):
    nib.save(nib.Nifti1Image(scan, None), tmp_path / "nowhere.nii")
    (layer,) = viewer.open(tmp_path / "nowhere.nii", plugin=PLUGIN)
    assert str(place_warning(meta_of(layer))).startswith("The header stores no orientation")
    assert len(volume_of(layer).warnings) == 1
