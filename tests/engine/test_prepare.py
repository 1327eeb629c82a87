"""Preparation: orientation and its undo, normalisation, missing and damaged channels."""

from itertools import permutations, product

import numpy as np
import pytest
import torch

from mambaseg.card import Channel
from mambaseg.config import PrepareConfig
from mambaseg.errors import VolumeError
from mambaseg.normalise import head_box, normalise
from mambaseg.orientation import axial_axis
from mambaseg.prepare import prepare, prepare_labels
from mambaseg.volume import Volume

CHANNELS = (Channel(name="flair"), Channel(name="t1", required=False))
SPACING = np.array([1.0, 1.1, 5.0])


def head(shape=(40, 36, 9), seed=0):
    i, j, _ = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = ((i - 19) / 15) ** 2 + ((j - 17) / 13) ** 2 < 1
    rng = np.random.default_rng(seed)
    return np.where(inside, rng.uniform(80, 160, shape), rng.uniform(0, 5, shape)).astype(np.float32)


def reoriented(order, signs):
    """The same head stored with its axes permuted and flipped, and the affine that says so."""
    data = head().transpose(order)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, world in enumerate(order):
        affine[world, axis] = SPACING[world] * (1 if world == 2 else -1) * signs[axis]
        if signs[axis] < 0:
            data = np.flip(data, axis)
            affine[:3, 3] -= affine[:3, axis] * (data.shape[axis] - 1)
    return Volume(np.ascontiguousarray(data)[None], affine, ("flair",))


@pytest.mark.parametrize(("order", "signs"), list(product(permutations(range(3)), product((1, -1), repeat=3))))
def test_every_orientation_looks_the_same_to_the_network_and_finds_its_way_back(order, signs):
    volume = reoriented(order, signs)
    prepared = prepare(volume, CHANNELS, PrepareConfig())
    straight = prepare(reoriented((0, 1, 2), (1, 1, 1)), CHANNELS, PrepareConfig())
    assert np.array_equal(prepared.slices, straight.slices)
    assert axial_axis(volume.affine) == order.index(2)
    numbered = np.arange(volume.data[0].size).reshape(volume.shape)
    back = prepared.undo.restore(torch.from_numpy(prepare_labels(numbered, prepared))).numpy()
    kept = back > 0
    assert np.array_equal(back[kept], numbered[kept])
    assert np.isin(numbered[volume.data[0] > 80], back).all()
    last = volume.shape[order.index(2)] - 1
    assert prepared.undo.slice_position(0) == (0 if signs[order.index(2)] > 0 else last)


def test_an_oblique_volume_stays_on_its_stored_grid():
    turn = np.deg2rad(20)
    affine = np.diag([-1.0, -1.0, 5.0, 1.0])
    affine[:2, :2] = [[-np.cos(turn), np.sin(turn)], [-np.sin(turn), -np.cos(turn)]]
    oblique = prepare(Volume(head()[None], affine, ("flair",)), CHANNELS, PrepareConfig())
    straight = prepare(Volume(head()[None], np.diag([-1.0, -1.0, 5.0, 1.0]), ("flair",)), CHANNELS, PrepareConfig())
    assert np.array_equal(oblique.slices, straight.slices)


def on_scale(array):
    """Normalised, slices first."""
    return normalise(torch.from_numpy(array.transpose(2, 1, 0).astype(np.float32, order="C")), 8.0)


@pytest.mark.parametrize(("gain", "shift"), [(1.0, 0.0), (17.3, 0.0), (0.01, 0.0), (0.02, -3.0), (1000.0, 5000.0)])
def test_units_and_z_scores_do_not_change_what_the_network_sees(gain, shift):
    assert torch.allclose(on_scale(head()), on_scale(gain * head() + shift), atol=2e-3)


def test_eight_bit_and_float_volumes_look_alike():
    assert (on_scale(head()) - on_scale(head().astype(np.uint8))).abs().max() < 0.05


def test_noise_in_air_does_not_move_the_scale():
    quiet = head()
    loud = quiet.copy()
    side = np.s_[:, 14:22, :]  # a ghost beside the head, not in the corners
    loud[side] = np.where(quiet[side] < 10, np.random.default_rng(1).uniform(5, 25, quiet[side].shape), quiet[side])
    one, other = (on_scale(a).numpy() for a in (quiet, loud))
    tissue = quiet.transpose(2, 1, 0) > 80
    assert np.median(other[tissue]) == pytest.approx(np.median(one[tissue]), rel=0.1)


def test_empty_margins_are_cut_away_but_for_the_margin_asked_for():
    wide = np.pad(head(), ((30, 20), (25, 35), (0, 0)))
    prepared = prepare(Volume(wide[None], np.diag([-1.0, -1.0, 5.0, 1.0]), ("flair",)), CHANNELS, PrepareConfig())
    rows, columns = prepared.undo.plane
    assert rows < 36 + 10
    assert columns < 40 + 10


def test_a_head_of_noise_alone_keeps_the_whole_slice():
    nothing = torch.zeros(3, 20, 24, dtype=torch.bool)
    assert head_box(nothing, (2, 2)) == (slice(0, 20), slice(0, 24))


def test_neighbours_are_taken_at_the_trained_distance():
    def step(spacing):
        volume = Volume(head()[None], np.diag([-1.0, -1.0, spacing, 1.0]), ("flair",))
        return prepare(volume, CHANNELS, PrepareConfig()).step

    assert [step(s) for s in (1.0, 2.4, 5.0, 8.0)] == [5, 2, 1, 1]


def test_pixels_far_from_the_trained_size_are_resampled_and_labels_with_them():
    volume = Volume(head()[None], np.diag([-0.5, -0.5, 5.0, 1.0]), ("flair",))
    prepared = prepare(volume, CHANNELS, PrepareConfig(), crop=False)
    assert prepared.slices.shape == (1, 9, 18, 20)
    assert prepared.undo.plane == (36, 40)
    assert prepare_labels((head() > 80).astype(np.uint8), prepared).shape == (9, 18, 20)


def test_an_absent_optional_channel_takes_no_memory_is_marked_missing_and_said():
    prepared = prepare(Volume(head()[None], np.diag([-1.0, -1.0, 5.0, 1.0]), ("flair",)), CHANNELS, PrepareConfig())
    assert prepared.present.tolist() == [1.0, 0.0]
    assert len(prepared.slices) == 1
    assert prepared.given == (0,)
    assert prepared.warnings == ("t1 was not given; the model works without it, less accurately",)


def both(flair, t1):
    return Volume(np.stack([flair, t1]).astype(np.float32), np.diag([-1.0, -1.0, 5.0, 1.0]), ("flair", "t1"))


def test_a_constant_optional_channel_counts_as_missing_and_is_said():
    prepared = prepare(both(head(), np.full_like(head(), 7)), CHANNELS, PrepareConfig())
    assert prepared.present.tolist() == [1.0, 0.0]
    assert "every voxel of t1 is 7; it counts as missing" in prepared.warnings


def test_a_constant_required_channel_is_refused():
    with pytest.raises(VolumeError, match=r"every voxel of flair is 7; a required channel needs contrast"):
        prepare(both(np.full_like(head(), 7), head()), CHANNELS, PrepareConfig())


def test_a_missing_required_channel_is_refused():
    volume = Volume(head()[None], np.diag([-1.0, -1.0, 5.0, 1.0]), ("t1",))
    with pytest.raises(VolumeError, match=r"the channel 'flair' is missing: the volume has t1"):
        prepare(volume, CHANNELS, PrepareConfig())


def test_a_few_nan_become_background_and_are_said():
    flair = head()
    flair[20, 18, 4] = np.nan
    flair[21, 18, 4] = np.inf
    prepared = prepare(both(flair, head(seed=1)), CHANNELS, PrepareConfig())
    assert prepared.slices.isfinite().all()
    assert prepared.warnings == ("2 voxels of flair are NaN or infinite; they count as background",)


def test_a_volume_of_mostly_nan_is_refused_with_its_share():
    flair = head()
    flair[:25] = np.nan
    with pytest.raises(VolumeError, match=r"62% of the voxels of flair are NaN or infinite; at most half"):
        prepare(both(flair, head()), CHANNELS, PrepareConfig())


def test_a_slice_that_does_not_exist_is_refused_with_those_that_do(volume):
    prepared = prepare(volume, CHANNELS, PrepareConfig())
    with pytest.raises(VolumeError, match=r"slice 6 does not exist; this volume has axial slices 0 to 5"):
        prepared.undo.slice_position(6)
