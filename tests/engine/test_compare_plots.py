"""What the plots of a comparison show, and who loads matplotlib."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mambaseg.compare_plots import against_parameters, learning_curves, per_patient, read_log
from mambaseg.compare_worst import as_seen, draw_worst, own_number, slice_of_largest_error, worst
from mambaseg.data_set import read_data_set
from mambaseg.files import write
from mambaseg.volume import LabelMap

LPS = np.diag([-1.0, -1.0, 5.0, 1.0])


def row(model, case, dice):
    return {"model": model, "case": case, "patient": case, "label": "tumour", "dice": dice, "hd95_mm": 9.0}


ROWS = [row("a", "case3", 0.5), row("a", "case4", 0.7), row("b", "case3", 0.9), row("b", "case4", 0.0)]


@pytest.fixture
def result():
    means = {"a": {"mean": 0.6, "low": 0.5, "high": 0.7}, "b": {"mean": 0.45, "low": 0.0, "high": 0.9}}
    return {
        "data_set": {
            "name": "data",
            "split": "val",
            "channels": "all",
            "labels": ["tumour"],
            "patients": 2,
        },
        "models": [
            {"name": name, "parameters": count, "scores": {"tumour": {"dice": means[name]}}}
            for name, count in (("a", 1000), ("b", 200_000))
        ],
        "cases": ROWS,
    }


def test_each_patient_is_a_line_from_model_to_model(result):
    (axes,) = per_patient(result).axes
    lines = [line.get_ydata().tolist() for line in axes.lines[:2]]
    assert lines == [[0.5, 0.9], [0.7, 0.0]]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b"]


def test_dice_stands_over_parameters_on_a_logarithmic_axis_with_its_interval(result):
    (axes,) = against_parameters(result).axes
    assert axes.get_xscale() == "log"
    assert [container[0].get_xdata()[0] for container in axes.containers] == [1000, 200_000]
    low, high = axes.containers[0][1]
    assert (low.get_ydata()[0], high.get_ydata()[0]) == pytest.approx((0.5, 0.7))


def test_a_model_has_the_same_colour_in_each_plot_though_another_has_no_log(result):
    log = [{"step": 20.0, "loss": 1.5}, {"step": 40.0, "loss": 1.2, "val_dice": 0.3}]
    loss, dice = learning_curves(["a", "b"], [[], log]).axes
    (line,) = loss.lines
    assert line.get_ydata().tolist() == [1.5, 1.2]
    assert dice.lines[0].get_xdata().tolist() == [40]
    assert line.get_color() == against_parameters(result).axes[0].containers[1][0].get_color()


def test_a_log_is_read_without_its_empty_cells_and_broken_lines(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss,val_dice\n20,1.5,\nwhat,is,this\n40,,0.3\n,1,1\n")
    assert read_log(tmp_path / "log.csv") == [{"step": 20, "loss": 1.5}, {"step": 40, "val_dice": 0.3}]


def test_the_worst_have_the_lowest_dice_and_of_equal_ones_the_larger_distance():
    rows = [row("a", name, dice) for name, dice in (("p", 0.5), ("q", 0.0), ("r", 0.9), ("s", 0.0))]
    rows[3]["hd95_mm"] = 200.0
    assert [one["case"] for one in worst(rows)] == ["s", "q", "p"]


def test_of_a_patient_with_several_cases_the_worst_one_is_shown():
    rows = [row("a", case, dice) for case, dice in (("p1", 0.5), ("p2", 0.1), ("q1", 0.3))]
    rows = [{**one, "patient": one["case"][0]} for one in rows]
    assert [one["case"] for one in worst(rows)] == ["p2", "q1"]


def test_the_slice_with_the_largest_error_is_shown_or_else_that_with_most_of_the_reference():
    truth = np.zeros((3, 4, 5), bool)
    truth[0, :2], truth[1, :3] = True, True
    found = truth.copy()
    assert slice_of_largest_error(found, truth) == 1
    found[2, 0, :2] = True
    assert slice_of_largest_error(found, truth) == 2


def test_a_slice_is_seen_upright_with_the_patients_left_on_the_right():
    data = np.zeros((4, 5, 6))
    data[0, 4, 5] = 1  # in RAS: left, front, top
    seen = as_seen(data, np.diag([1.0, 1.0, 5.0, 1.0]))
    assert seen.shape == (6, 5, 4)
    assert np.argwhere(seen).tolist() == [[5, 0, 3]]


def test_a_slice_has_the_number_that_it_has_in_its_file():
    data = np.arange(6).reshape(1, 1, 6)
    for k in (5.0, -5.0):
        affine = np.diag([1.0, 1.0, k, 1.0])
        seen = as_seen(data, affine)[:, 0, 0]
        assert [own_number(number, 6, affine) for number in range(6)] == seen.tolist()


def test_a_lesion_that_was_missed_is_drawn_with_its_reference_alone(result, data_set, tmp_path):
    cases = read_data_set(data_set).splits["val"]
    contenders = [SimpleNamespace(name=name, file_name=name) for name in "ab"]
    for name in "ab":
        (tmp_path / name).mkdir()
        for case in cases:
            write(LabelMap(np.zeros((40, 36, 6), np.uint8), LPS), tmp_path / name / f"{case.name}.nii.gz")
    figure = draw_worst(result, contenders, cases, tmp_path)
    assert [len(axes.collections) for axes in figure.axes] == [1, 1, 1, 1]
    assert figure.axes[0].get_title() == "a\ncase3, slice 3: Dice 0.500"
    assert [text.get_text() for text in figure.legends[0].texts] == ["reference", "prediction"]


def test_matplotlib_is_loaded_neither_with_the_package_nor_to_segment_and_compare_loads_it_only_to_draw():
    modules = "mambaseg, mambaseg.cli, mambaseg.segment, mambaseg.evaluate, mambaseg.worker, mambaseg.compare"
    code = f"import sys; import {modules}; print([name for name in sys.modules if name.startswith('matplotlib')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
