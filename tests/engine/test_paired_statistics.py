"""Statistics of paired scores, against cases that can be computed by hand."""

import numpy as np
import pytest

from mambaseg.paired_statistics import bootstrap, signed_rank_p, summarise


def test_five_differences_of_one_sign_have_the_exact_p_of_two_in_thirty_two():
    other = np.array([0.5, 0.5, 0.5, 0.5, 0.5])
    assert signed_rank_p(other + np.array([0.1, 0.2, 0.3, 0.15, 0.25]), other) == pytest.approx(2 / 32)


def test_a_lowest_rank_against_the_rest_has_the_exact_p_of_four_in_thirty_two():
    zero = np.zeros(5)
    # The sum of the negative ranks is 1: of the 32 signs, W is 0 once and 1 once, on either side.
    assert signed_rank_p(np.array([-1.0, 2, 3, 4, 5]), zero) == pytest.approx(4 / 32)


def test_identical_scores_have_p_1_and_one_patient_too():
    scores = np.array([0.3, 0.7, 0.9])
    assert signed_rank_p(scores, scores) == 1.0
    assert signed_rank_p(scores[:1], scores[1:2]) == 1.0


def test_a_patient_without_a_difference_is_left_out():
    zero = np.zeros(6)
    assert signed_rank_p(np.array([1.0, 2, 3, 4, 5, 0]), zero) == pytest.approx(2 / 32)


def test_differences_that_only_rounding_tells_apart_are_ties():
    one, other = np.array([0.3, 0.8, 0.2]), np.array([0.2, 0.7, 0.3])
    assert signed_rank_p(one, other) == pytest.approx(1.0)


def test_the_interval_of_two_patients_is_that_of_their_three_means():
    # Two patients drawn from 0 and 1: the mean is 0, 1/2 or 1, with 1/4, 1/2 and 1/4 of the draws.
    (found,) = bootstrap(np.array([[0.0, 1.0]]))
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)


def test_the_interval_of_many_patients_is_near_that_of_the_normal_law():
    scores = np.random.default_rng(1).normal(0.8, 0.1, (1, 200))
    (found,) = bootstrap(scores)
    half = 1.96 * scores.std() / np.sqrt(200)
    assert found.low == pytest.approx(found.mean - half, abs=0.1 * half)
    assert found.high == pytest.approx(found.mean + half, abs=0.1 * half)


def test_all_models_are_drawn_the_same_patients():
    patients = np.array([0.2, 0.5, 0.9, 0.4])
    first, better = summarise(np.stack([patients, patients + 0.125]))
    assert first.difference is None and first.p is None
    assert better.difference.mean == pytest.approx(0.125)
    # A gain that is the same for each patient has no spread, whoever is drawn.
    assert better.difference.low == pytest.approx(0.125)
    assert better.difference.high == pytest.approx(0.125)
    assert better.median == pytest.approx(0.575)
    assert better.high - better.low == pytest.approx(first.high - first.low)


def test_a_model_beside_itself_differs_by_nothing_at_all():
    patients = np.array([0.1, 0.7, 0.9])
    again = summarise(np.stack([patients, patients]))[1]
    assert (again.difference.low, again.difference.mean, again.difference.high, again.p) == (0, 0, 0, 1)


def test_the_seed_decides_the_draws():
    scores = np.random.default_rng(2).random((2, 13))
    assert summarise(scores, seed=4) == summarise(scores, seed=4)
    assert summarise(scores, seed=4) != summarise(scores, seed=5)


def test_a_single_patient_has_an_interval_without_width():
    (found,) = bootstrap(np.array([[0.7]]))
    assert found.low == found.high == pytest.approx(0.7)
