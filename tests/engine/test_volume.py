from __future__ import annotations

import numpy as np
import pytest

from mambaseg.errors import VolumeError
from mambaseg.volume import Label, LabelMap, Volume, check_affine, corners_apart_mm, same_grid, spacing_of

SHAPE = (8, 9, 10)
AFFINE = np.array([[0, -2, 0, 10], [0.5, 0, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1.0]])


def volume(channels=("flair", "t1"), affine=AFFINE):
    return Volume(np.arange(1440, dtype=np.float32).reshape(2, *SHAPE), affine, channels)


def test_a_volume_knows_its_shape_and_spacing():
    assert volume().shape == SHAPE
    assert volume().spacing_mm == pytest.approx((0.5, 2, 3))
    assert spacing_of(AFFINE) == volume().spacing_mm


def test_a_channel_is_found_by_name():
    np.testing.assert_array_equal(volume().channel("t1"), volume().data[1])


def test_an_unknown_channel_is_refused_with_those_there_are():
    with pytest.raises(VolumeError, match="no channel 't2'; this volume has flair, t1"):
        volume().channel("t2")


def test_renaming_keeps_all_else():
    renamed = volume().renamed(["a", "b"])
    assert renamed.channels == ("a", "b")
    np.testing.assert_array_equal(renamed.data, volume().data)
    np.testing.assert_array_equal(renamed.affine, AFFINE)


@pytest.mark.parametrize(("names", "match"), [(("flair",), "1 channel names .* for 2 channels"),
                                              (("t1", "t1"), "repeat; each channel")])  # fmt: skip
def test_channel_names_that_do_not_fit_are_refused(names, match):
    with pytest.raises(VolumeError, match=match):
        volume(names)


@pytest.mark.parametrize(
    ("affine", "match"),
    [
        (np.diag([1, 0, 1, 1.0]), "is singular"),
        (np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "is singular"),
        (np.diag([1, np.nan, 1, 1]), "4x4 matrix of finite numbers"),
        (np.diag([1, np.inf, 1, 1]), "4x4 matrix of finite numbers"),
        (np.eye(3), "4x4 matrix of finite numbers"),
    ],
)
def test_unusable_affines_are_refused_in_one_line(affine, match):
    with pytest.raises(VolumeError, match=match) as caught:
        check_affine(affine)
    assert "\n" not in str(caught.value)


def test_small_voxels_are_no_reason_to_refuse():
    check_affine(np.diag([1e-3, 1e-3, 1e-3, 1]))


def test_a_label_map_refuses_an_unusable_affine():
    with pytest.raises(VolumeError, match="is singular"):
        LabelMap(np.zeros(SHAPE, np.uint8), np.diag([1, 0, 1, 1.0]))


def test_volumes_are_in_millilitres_by_name():
    data = np.zeros(SHAPE, np.uint8)
    data[:5, 0, 0] = 1
    data[0, 1, :4] = 9
    labels = LabelMap(data, AFFINE, {1: Label("core", "#ff0000"), 2: Label("oedema", "#00ff00")})
    assert labels.voxel_ml == pytest.approx(0.003)
    assert labels.volumes_ml() == pytest.approx({"core": 0.015, "oedema": 0, "label 9": 0.012})


def test_grids_are_compared_at_their_corners():
    moved, turned = AFFINE.copy(), AFFINE.copy()
    moved[0, 3] += 0.0005
    turned[2, 0] += 0.001
    assert same_grid(volume(), volume(affine=moved))
    assert not same_grid(volume(), volume(affine=turned))
    assert same_grid(volume(), volume(affine=turned), tolerance_mm=0.01)
    assert corners_apart_mm(AFFINE, turned, SHAPE) == pytest.approx(0.007)


def test_grids_of_other_shape_differ():
    assert not same_grid(volume(), LabelMap(np.zeros((8, 9, 11), np.uint8), AFFINE))
