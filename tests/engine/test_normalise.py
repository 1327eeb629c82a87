"""The scale of intensities: what is computed in pieces and in place is what NumPy and SciPy compute at once."""

import numpy as np
import pytest
import torch
from scipy import ndimage

import mambaseg.normalise as under_test
from mambaseg.normalise import head_box, normalise, percentile, split_air

RNG = np.random.default_rng(0)


def head(shape=(9, 36, 40)):
    _, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = ((y - 17) / 13) ** 2 + ((x - 19) / 15) ** 2 < 1
    return np.where(inside, RNG.uniform(80, 160, shape), RNG.uniform(0, 5, shape)).astype(np.float32)


@pytest.mark.parametrize("share", [0.0, 1.0, 37.3, 50.0, 99.0, 100.0])
@pytest.mark.parametrize("count", [1, 2, 1000, 1001])
def test_a_percentile_is_numpys(share, count):
    values = RNG.random(count, dtype=np.float32)
    assert percentile(torch.from_numpy(values), share) == pytest.approx(float(np.percentile(values, share)), abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 1, 9), (3, 20, 24), (5, 8, 3)])
def test_the_box_holds_every_pixel_with_two_thirds_of_its_neighbours_in_the_head(shape, monkeypatch):
    monkeypatch.setattr(under_test, "PIECE", 1)  # one slice at a time
    speckled = RNG.random(shape) < 0.55
    solid = ndimage.uniform_filter(speckled.astype(np.float32), size=(1, 3, 3)).max(axis=0) > 0.6
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    expected = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    assert head_box(torch.from_numpy(speckled), (0, 0)) == expected


def test_a_volume_in_pieces_is_normalised_like_a_whole_one(monkeypatch):
    array = head()
    monkeypatch.setattr(under_test, "SAMPLE", 700)
    whole = normalise(torch.from_numpy(array.copy()), 8.0)
    monkeypatch.setattr(under_test, "PIECE", 1)
    assert torch.equal(normalise(torch.from_numpy(array.copy()), 8.0), whole)


def test_it_works_in_place():
    channel = torch.from_numpy(head())
    assert normalise(channel, 8.0) is channel


def test_a_sample_is_every_nth_voxel_inside(monkeypatch):
    monkeypatch.setattr(under_test, "SAMPLE", 500)
    monkeypatch.setattr(under_test, "PIECE", 1)
    array = head()
    inside = array > 50
    expected = array[inside][:: inside.sum() // 500]
    found = under_test._sample(torch.from_numpy(array), torch.from_numpy(inside))
    assert np.array_equal(found.numpy(), expected)


def test_corners_that_show_no_air_leave_it_to_the_quietest_one():
    array = head()
    array[:, -3:, -3:] = RNG.uniform(4000, 5000, (9, 3, 3))  # a shoulder
    array[:, :3, :3] = RNG.uniform(0, 4000, (9, 3, 3))
    unlike, level = split_air(torch.from_numpy(array), float(array.min()))
    assert level < 5
    assert unlike[:, 10:25, 10:28].all()


def test_where_no_corner_shows_air_all_is_tissue():
    array = RNG.uniform(0, 250, (9, 36, 40)).astype(np.float32)
    array[:, 3:-3, 3:-3] = RNG.uniform(100, 150, (9, 30, 34))
    unlike, level = split_air(torch.from_numpy(array), float(array.min()))
    assert unlike.all()
    assert level == float(array.min())
