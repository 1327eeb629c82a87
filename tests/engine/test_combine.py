"""Several files on one grid."""

import numpy as np
import pytest

from mambaseg.combine import combine
from mambaseg.errors import VolumeError
from mambaseg.volume import Volume


def ramp(affine, shape=(8, 9, 10), name="case"):
    """A volume whose value is its world x + 2 y + 3 z in mm."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    world = grid @ affine[:3, :3].T + affine[:3, 3]
    return Volume((world @ [1.0, 2.0, 3.0]).astype(np.float32)[None], affine, (name,))


def test_files_of_one_grid_are_joined_untouched_and_without_a_warning():
    first, second = ramp(np.eye(4)), ramp(np.eye(4))
    joined = combine({"flair": first, "t1": second})
    assert joined.channels == ("flair", "t1")
    assert joined.warnings == ()
    assert np.array_equal(joined.data[1], second.data[0])


def test_another_grid_is_resampled_onto_the_first_with_a_warning():
    first = ramp(np.eye(4))
    fine = np.diag([0.5, -0.5, 0.5, 1.0])
    fine[:3, 3] = [-1, 10, -1]
    joined = combine({"flair": first, "t1": ramp(fine, shape=(22, 24, 26))})
    assert np.allclose(joined.data[0], joined.data[1], atol=1e-4)
    assert len(joined.warnings) == 1
    assert joined.warnings[0].startswith("t1 lies on another grid (22 × 24 × 26, 0.5 × 0.5 × 0.5 mm); it was resampled")


def test_a_volume_of_another_place_is_refused_with_its_overlap():
    far = np.eye(4)
    far[:3, 3] = 100
    with pytest.raises(VolumeError, match=r"t1 covers 0% of the first volume's space; the files must show"):
        combine({"flair": ramp(np.eye(4)), "t1": ramp(far)})


def test_a_file_of_several_channels_is_refused():
    two = Volume(np.zeros((2, 8, 9, 10), np.float32), np.eye(4), ("a", "b"))
    with pytest.raises(VolumeError, match=r"the file for t1 holds 2 channels; give one channel per file"):
        combine({"flair": ramp(np.eye(4)), "t1": two})
