"""The leaky protocol by slices: which are taken, how they are split, what two slices score."""

import numpy as np
import pytest

from mambaseg.slice_protocol import large_slices, leaked_patients, leaky_split, score_in_twos


def stack(*pixels, shape=(30, 40)):
    """Slices with so many pixels of tumour."""
    slices = np.zeros((len(pixels), shape[0] * shape[1]), np.uint8)
    for number, count in enumerate(pixels):
        slices[number, :count] = 1 + number % 2
    return slices.reshape(-1, *shape)


def test_slices_of_more_than_500_pixels_are_taken_whatever_their_label():
    assert large_slices({"a": stack(0, 500, 501), "b": stack(800, 900)}) == [("a", 2), ("b", 0), ("b", 1)]


def test_four_in_five_slices_are_learned_from_and_none_is_in_both_lists():
    slices = [(f"p{n % 9}", n) for n in range(47)]
    learn, test = leaky_split(slices, seed=3)
    assert (len(learn), len(test)) == (37, 10)
    assert sorted(learn + test) == sorted(slices)


def test_the_seed_decides_the_split():
    slices = [("a", n) for n in range(20)]
    assert leaky_split(slices, seed=1) == leaky_split(slices, seed=1)
    assert leaky_split(slices, seed=1) != leaky_split(slices, seed=2)


def test_a_split_by_slice_leaks_patients():
    learn, test = leaky_split([(f"p{n // 10}", n) for n in range(200)])
    assert leaked_patients(learn, test) == 1.0
    assert leaked_patients([("a", 0), ("b", 0)], [("a", 1), ("c", 0)]) == 0.5


def test_two_slices_are_scored_as_one_flat_mask_with_1_above_and_below():
    truth, found = stack(100, 10), stack(100, 0).astype(np.float32)
    scores = score_in_twos(found, truth)
    assert scores["dice"] == pytest.approx((2 * 100 + 1) / (100 + 110 + 1))
    assert scores["iou"] == pytest.approx((100 + 1) / (110 + 1))


def test_the_mean_is_over_batches_and_a_last_slice_alone_is_a_batch():
    truth, found = stack(4, 6, 9), np.zeros((3, 30, 40), np.float32)
    found[2] = truth[2] > 0
    assert score_in_twos(found, truth)["dice"] == pytest.approx((1 / 11 + 1) / 2)


def test_a_probability_of_one_half_is_not_found():
    truth = stack(9, 9)
    assert score_in_twos(np.full(truth.shape, 0.5, np.float32), truth)["dice"] == pytest.approx(1 / 19)
