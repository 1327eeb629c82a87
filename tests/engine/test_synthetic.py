"""The synthetic head: grids, determinism, the tumour and its truth, brightness, refusals."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import pytest

from mambaseg.errors import VolumeError
from mambaseg.synthetic import SyntheticCase, synthetic_brain

# A whole adult head in few voxels: three different side lengths.
SMALL = (48, 56, 40)
COARSE_MM = (4.0, 4.2, 4.0)


@cache
def small(seed: int = 0, tumours: int = 1, skull: bool = True) -> SyntheticCase:
    return synthetic_brain(seed, SMALL, COARSE_MM, tumours=tumours, skull=skull)


@cache
def default(seed: int = 0) -> SyntheticCase:
    return synthetic_brain(seed)


def test_volume_and_truth_have_the_shape_spacing_and_channels_asked_for() -> None:
    case = small()
    assert case.volume.data.shape == (3, *SMALL)
    assert case.volume.data.dtype == np.float32
    assert case.truth.shape == SMALL
    assert case.volume.spacing_mm == pytest.approx(COARSE_MM)
    assert case.volume.channels == ("flair", "t1", "t1c")
    assert {n: label.name for n, label in case.truth.labels.items()} == {1: "tumour"}


def test_axes_run_to_left_posterior_superior_and_world_zero_is_the_middle_of_the_grid() -> None:
    affine = small().volume.affine
    assert np.array_equal(np.sign(np.diag(affine)[:3]), (-1, -1, 1))
    middle = affine @ np.array([*(np.array(SMALL) - 1) / 2, 1.0])
    assert np.allclose(middle[:3], 0)
    assert np.array_equal(affine, small().truth.affine)


def test_eyes_are_in_front_and_the_head_is_wider_than_its_vertex() -> None:
    head = default().volume.channel("t1")
    wide = [(head[:, :, k] > head.max() * 0.1).sum() for k in (1, 16, 30)]
    assert wide[2] < wide[1]
    eyes = head[:, :, 9]
    assert np.flatnonzero(eyes.max(axis=0) > head.max() * 0.3)[0] < 40


def test_same_seed_gives_the_same_case() -> None:
    again = synthetic_brain(0, SMALL, COARSE_MM)
    assert np.array_equal(small().volume.data, again.volume.data)
    assert np.array_equal(small().truth.data, again.truth.data)


def test_other_seed_gives_another_head_and_another_tumour() -> None:
    assert not np.array_equal(small(0).volume.data, small(1).volume.data)
    assert not np.array_equal(small(0).truth.data, small(1).truth.data)


def test_one_seed_gives_the_same_tumour_on_every_grid() -> None:
    here, there = (np.mean([truth.affine @ np.array([*ijk, 1.0]) for ijk in np.argwhere(truth.data)], axis=0)
                   for truth in (small().truth, default().truth))
    assert np.abs(here - there)[:3].max() < 4


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_tumour_is_of_clinical_size_and_inside_the_skull(seed: int) -> None:
    case, bare = small(seed), small(seed, skull=False)
    assert 15 <= case.truth.volumes_ml()["tumour"] <= 60
    inside = (bare.volume.data > 0).all(axis=0)
    assert inside[case.truth.data > 0].all()
    assert 0.02 < inside.mean() < 0.6


@pytest.mark.parametrize("seed", [0, 1])
def test_tumour_is_bright_on_flair_and_dark_on_t1_against_the_other_brain(seed: int) -> None:
    case, bare = default(seed), synthetic_brain(seed, skull=False, channels=("t1",))
    tumour = case.truth.data > 0
    brain = (bare.volume.data[0] > 0) & ~tumour
    flair, t1 = case.volume.channel("flair"), case.volume.channel("t1")
    assert 1.4 < np.median(flair[tumour]) / np.median(flair[brain]) < 2.3
    assert np.median(t1[tumour]) < np.median(t1[brain])


def test_air_is_dark_and_noisy_and_the_whole_is_not_negative() -> None:
    for channel in default().volume.data:
        air, head = channel[:8, :8], np.median(channel[channel > np.percentile(channel, 80)])
        assert 0 < air.mean() < 0.08 * head
        assert air.std() > 0
        assert channel.min() >= 0


@pytest.mark.parametrize("count", [2, 4])
def test_more_tumours_share_the_volume(count: int) -> None:
    assert 15 <= small(5, tumours=count).truth.volumes_ml()["tumour"] <= 60


def test_no_tumour_gives_an_empty_truth() -> None:
    case = small(tumours=0)
    assert not case.truth.data.any()
    assert case.truth.volumes_ml() == {"tumour": 0.0}


def test_without_skull_all_outside_the_brain_is_zero() -> None:
    whole, bare = small().volume.data, small(skull=False).volume.data
    inside = bare > 0
    assert np.array_equal(bare[inside], whole[inside])
    assert (bare == 0).mean() > 0.4


def test_channel_drawn_alone_is_the_same_as_among_others() -> None:
    case = synthetic_brain(0, SMALL, COARSE_MM, channels=("t1c", "flair"))
    assert case.volume.channels == ("t1c", "flair")
    for name in ("t1c", "flair"):
        assert np.array_equal(case.volume.channel(name), small().volume.channel(name))


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((48, 56, 40), (1.0, 1.0, 1.0)),
        ((40, 44, 16), (5.0, 5.0, 10.0)),
        ((16, 17, 18), (12.0, 13.0, 9.0)),
        ((64, 24, 20), (1, 9, 8)),
    ],
)
def test_any_shape_and_spacing_shows_a_tumour_that_is_bright_on_flair(
    shape: tuple[int, int, int], spacing: tuple[float, ...]
) -> None:
    case = synthetic_brain(1, shape, spacing)
    tumour, flair = case.truth.data > 0, case.volume.channel("flair")
    assert case.volume.shape == shape
    assert np.isfinite(case.volume.data).all()
    assert tumour.any()
    assert np.median(flair[tumour]) > np.median(flair[flair > 0.2 * flair.max()])


def test_field_of_view_too_small_for_an_adult_holds_a_smaller_whole_head() -> None:
    flair = synthetic_brain(0, SMALL, (1.0, 1.0, 1.0)).volume.channel("flair")
    rim = np.concatenate([flair[:2].ravel(), flair[-2:].ravel(), flair[:, -2:].ravel()])
    assert np.median(rim) < 0.1 * np.percentile(flair, 95)


def test_default_case_is_made_in_seconds() -> None:
    start = time.perf_counter()
    synthetic_brain(7)
    # Typically 2 s; the slack is for machines that do other work.
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (15, 64, 64)}, r"shape \(15, 64, 64\).*16 voxels or more.*give a larger shape"),
        ({"shape": (64, 64)}, r"shape \(64, 64\).*three axes"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, r"spacing \(1\.0, 0\.0, 1\.0\).*three positive numbers.*one per axis"),
        ({"spacing_mm": (1.0, -1.0, 1.0)}, r"spacing .*positive"),
        ({"spacing_mm": (1.0, float("nan"), 1.0)}, r"spacing .*positive"),
        ({"spacing_mm": (1.0, 1.0)}, r"spacing \(1\.0, 1\.0\).*one per axis"),
        ({"channels": ("flair", "t2")}, r"channels \('flair', 't2'\).*flair, t1, t1c.*give one or more"),
        ({"channels": ()}, r"channels \(\).*give one or more"),
        ({"channels": ("t1", "t1")}, r"channels .*repeat.*each name once"),
        ({"tumours": -1}, r"-1 tumours.*0 to 4"),
        ({"tumours": 5}, r"5 tumours.*0 to 4.*give such a number"),
        ({"seed": -1}, r"seed is -1.*0 or more"),
    ],
)
def test_impossible_arguments_are_refused_in_one_line(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(VolumeError, match=message) as refused:
        synthetic_brain(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
