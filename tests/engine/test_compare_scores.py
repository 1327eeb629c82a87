"""Scores and tables of a comparison: every label for every patient, and what a row says."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mambaseg.compare_scores import score_case, scored_labels, scores_of, summaries
from mambaseg.compare_tables import markdown, write_tables
from mambaseg.data_set import Case
from mambaseg.volume import LabelMap

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
CASE = Case("a", {}, Path("a.nii.gz"), "anna")
TWO = {1: "anterior", 2: "posterior"}


def labelled(*boxes):
    data = np.zeros((8, 9, 10), np.uint8)
    for value, i in boxes:
        data[i, 2:7, 3:6] = value
    return LabelMap(data, AFFINE)


def test_one_label_is_scored_under_its_name_and_several_also_as_any():
    assert scored_labels({1: "tumour"}) == ["tumour"]
    assert scored_labels(TWO) == ["any", "anterior", "posterior"]


def test_labels_that_are_mixed_up_are_right_only_as_any():
    rows = score_case(labelled((1, slice(2, 6))), labelled((2, slice(2, 6))), CASE, TWO)
    assert [(row["patient"], row["case"], row["label"], row["dice"]) for row in rows] == [
        ("anna", "a", "any", 1.0),
        ("anna", "a", "anterior", 0.0),
        ("anna", "a", "posterior", 0.0),
    ]


def test_a_label_that_neither_map_has_is_perfect_and_not_left_out():
    rows = score_case(labelled((1, slice(2, 6))), labelled((1, slice(2, 6))), CASE, TWO)
    assert [row["label"] for row in rows] == ["any", "anterior", "posterior"]
    assert (rows[2]["dice"], rows[2]["hd95_mm"], rows[2]["nsd_1mm"]) == (1.0, 0.0, 1.0)


def test_a_missed_and_an_invented_lesion_are_both_the_worst_case():
    diagonal = np.sqrt(8**2 + 9**2 + 20**2)
    for found, truth, ml in (((), [(1, slice(2, 6))], -0.12), ([(1, slice(2, 6))], (), 0.12)):
        (row,) = score_case(labelled(*found), labelled(*truth), CASE, {1: "tumour"})
        assert (row["dice"], row["iou"], row["nsd_1mm"]) == (0, 0, 0)
        assert row["hd95_mm"] == pytest.approx(diagonal)
        assert row["volume_error_ml"] == pytest.approx(ml)
        assert row["absolute_volume_error_ml"] == pytest.approx(0.12)


def row(model, case, dice, error):
    return {
        "model": model,
        "case": case,
        "patient": case[0],
        "label": "tumour",
        "dice": dice,
        "iou": dice / (2 - dice),
        "hd95_mm": 5.0,
        "nsd_1mm": dice,
        "volume_error_ml": error,
        "absolute_volume_error_ml": abs(error),
    }


ROWS = [row("a 1.0", "p", 0.5, -2), row("a 1.0", "q", 0.7, 2), row("b|2", "q", 0.9, 1), row("b|2", "p", 0.8, 1)]


def test_patients_are_paired_by_name_and_not_by_their_place():
    found = summaries(ROWS, ["a 1.0", "b|2"], ["tumour"])
    dice = found["b|2"]["tumour"]["dice"]
    assert dice["difference"]["mean"] == pytest.approx(0.25)
    assert (dice["difference"]["low"], dice["difference"]["high"]) == pytest.approx((0.2, 0.3))
    assert found["a 1.0"]["tumour"]["dice"]["difference"] is None


def test_a_patient_with_several_cases_counts_once_with_their_mean():
    rows = [row("a", "p1", 0.2, 0), row("a", "p2", 0.4, 0), row("a", "q1", 0.9, 0)]
    assert scores_of(rows, ["a"], "tumour", "dice").tolist() == [pytest.approx([0.3, 0.9])]
    assert summaries(rows, ["a"], ["tumour"])["a"]["tumour"]["dice"]["mean"] == pytest.approx(0.6)


def test_signed_errors_cancel_and_those_without_sign_do_not():
    found = summaries(ROWS, ["a 1.0", "b|2"], ["tumour"])["a 1.0"]["tumour"]
    assert found["volume_error_ml"]["mean"] == 0
    assert found["absolute_volume_error_ml"]["mean"] == 2


@pytest.fixture
def result():
    facts = {
        "network": "unet",
        "sha256": "0" * 64,
        "parameters": 1234567,
        "learnable_parameters": 1234000,
        "bytes": 5_000_000,
        "flops_256": 3_000_000_000,
        "training_seconds": None,
        "training_device": None,
        "training_data": "data: 3 train cases",
        "recipe_sha256": None,
        "seconds_cpu": 1.25,
        "seconds_gpu": None,
        "peak_bytes": None,
    }
    scores = summaries(ROWS, ["a 1.0", "b|2"], ["tumour"])
    return {
        "command": "mambaseg compare data",
        "machine": {"cpu": "a CPU", "threads": 2, "gpu": None},
        "versions": {"python": "3.11"},
        "commit": None,
        "date": "2026-01-02T03:04:05",
        "protocol": "As agreed.",
        "data_set": {"name": "data", "split": "val", "channels": "all", "labels": ["tumour"], "patients": 2},
        "models": [{"name": name, **facts, "scores": scores[name]} for name in scores],
        "cases": ROWS,
    }


def test_the_table_says_means_intervals_differences_and_the_protocol(result):
    text = markdown(result)
    assert "# data, val: 2 patients, all channels" in text
    assert "| a 1.0 | 0.600 [0.500, 0.700] |" in text
    assert "| b\\|2 | +0.250 [+0.200, +0.300], 0.5 |" in text
    assert "| a 1.0 | 1,234,567 | 1,234,000 | 5.00 | 3 | 1.25 |  |  |  |  | data: 3 train cases |" in text
    assert "As agreed." in text


def test_the_table_of_models_has_one_row_each_and_is_empty_where_nothing_was_measured(result, tmp_path):
    write_tables(result, tmp_path)
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [line["name"] for line in rows] == ["a 1.0", "b|2"]
    assert (rows[0]["seconds_gpu"], rows[0]["tumour_dice_difference"], rows[0]["tumour_dice_p"]) == ("", "", "")
    assert float(rows[1]["tumour_dice_difference_low"]) == pytest.approx(0.2)
    assert [line["case"] for line in csv.DictReader((tmp_path / "cases.csv").read_text().splitlines())] == [*"pqqp"]
    assert json.loads((tmp_path / "compare.json").read_text()) == result


def test_a_number_that_rounds_to_nothing_has_no_minus(result):
    result["models"][1]["scores"]["tumour"]["volume_error_ml"]["mean"] = -0.01
    assert "-0.0" not in markdown(result)


def test_no_temporary_file_is_left(result, tmp_path):
    write_tables(result, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cases.csv", "compare.json", "table.csv", "table.md"]
