"""Scores with known answers, and the worst case where a lesion is missed."""

import numpy as np
import pytest

from mambaseg.errors import DataSetError
from mambaseg.evaluate import evaluate, means, score
from mambaseg.files import write
from mambaseg.jobs import Job
from mambaseg.volume import LabelMap

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def box(i=slice(2, 6), j=slice(2, 7), k=slice(3, 6), value=1):
    data = np.zeros((8, 9, 10), np.uint8)
    data[i, j, k] = value
    return LabelMap(data, AFFINE)


def test_equal_masks_score_perfectly():
    one = score(box(), box())[0]
    assert (one.dice, one.iou, one.hd95_mm, one.nsd_1mm, one.volume_error_ml) == (1, 1, 0, 1, 0)


def test_a_shifted_box_has_the_dice_iou_and_distance_of_hand_arithmetic():
    one = score(box(i=slice(4, 8)), box())[0]
    assert one.dice == pytest.approx(0.5)
    assert one.iou == pytest.approx(1 / 3)
    assert one.hd95_mm == pytest.approx(2.0)
    assert one.volume_error_ml == 0


def test_a_box_that_is_too_large_has_its_excess_in_ml():
    one = score(box(i=slice(2, 8)), box())[0]
    assert one.volume_error_ml == pytest.approx(2 * 5 * 3 * 2 / 1000)


def test_two_empty_masks_agree():
    empty = LabelMap(np.zeros((8, 9, 10), np.uint8), AFFINE)
    assert score(empty, empty)[0].dice == 1


def test_a_missed_lesion_is_the_worst_case_not_left_out():
    empty = LabelMap(np.zeros((8, 9, 10), np.uint8), AFFINE)
    one = score(empty, box())[0]
    assert (one.dice, one.nsd_1mm) == (0, 0)
    assert one.hd95_mm == pytest.approx(np.sqrt(8**2 + 9**2 + 20**2))
    assert one.volume_error_ml == pytest.approx(-0.12)


def test_labels_are_scored_one_by_one_or_merged():
    assert [s.label for s in score(box(value=1), box(value=3))] == ["1", "3"]
    merged = score(box(value=1), box(value=3), merge=True)
    assert [(s.label, s.dice) for s in merged] == [("any", 1.0)]


def test_the_mean_is_taken_over_cases_by_label():
    scores = [*score(box(), box(), "a"), *score(box(i=slice(4, 8)), box(), "b")]
    assert means(scores)["1"]["dice"] == pytest.approx(0.75)


def test_masks_of_different_grids_are_refused():
    other = LabelMap(box().data, np.eye(4))
    with pytest.raises(DataSetError, match=r"does not lie on the grid of its reference"):
        score(other, box())


def test_folders_are_matched_by_file_name(tmp_path):
    for folder, mask in (("found", box(i=slice(4, 8))), ("truth", box())):
        (tmp_path / folder).mkdir()
        for case in ("a", "b"):
            write(mask, tmp_path / folder / f"{case}.nii.gz")
    result = Job(lambda: evaluate(tmp_path / "found", tmp_path / "truth")).run()
    assert [row["case"] for row in result["cases"]] == ["a", "b"]
    assert result["mean"]["1"]["dice"] == pytest.approx(0.5)
    (tmp_path / "truth" / "b.nii.gz").unlink()
    with pytest.raises(DataSetError, match=r"b has no reference in"):
        Job(lambda: evaluate(tmp_path / "found", tmp_path / "truth")).run()
