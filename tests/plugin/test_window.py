"""With a real window: what only napari itself can show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
from plugin_cases import AFFINES, PLUGIN, STRAIGHT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_every_orientation_is_drawn_in_2d_and_3d(make_napari_viewer_proxy, save_nifti: Callable[..., Path], scan, mask):
    viewer = make_napari_viewer_proxy(show=True)
    for affine in AFFINES.values():
        viewer.open(save_nifti(scan, affine), plugin=PLUGIN)
        viewer.open(save_nifti(mask, affine, "mask.nii.gz"), plugin=PLUGIN)
        for order in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
            viewer.dims.order = order
            assert viewer.screenshot(canvas_only=True, flash=False)[..., :3].any()
        viewer.dims.ndisplay = 3
        assert viewer.screenshot(canvas_only=True, flash=False)[..., :3].any()
        viewer.dims.ndisplay = 2
        viewer.layers.clear()


@pytest.mark.parametrize("name", AFFINES)
def test_a_new_labels_layer_is_saved_on_the_grid_of_the_image_below(
    name: str, make_napari_viewer_proxy, save_nifti: Callable[..., Path], scan, tmp_path: Path
):
    viewer = make_napari_viewer_proxy()
    source = save_nifti(scan, AFFINES[name])
    (image,) = viewer.open(source, plugin=PLUGIN)
    drawn = np.array(image.data > 110, np.uint8)
    labels = viewer.add_labels(drawn, scale=image.scale, translate=image.translate, units=image.units)
    labels.save(str(tmp_path / "out.nii.gz"), plugin=PLUGIN)
    saved = nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(saved.affine, nib.load(source).affine)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), scan > 110)


def test_saving_from_the_viewer_writes_the_selected_mask(
    make_napari_viewer_proxy, save_nifti: Callable[..., Path], mask, tmp_path: Path
):
    viewer = make_napari_viewer_proxy()
    viewer.open(save_nifti(mask, STRAIGHT["PIL"], "mask.nii.gz"), plugin=PLUGIN)
    viewer.layers.save(str(tmp_path / "out.nii.gz"), selected=True)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj), mask)
