"""The patients that each model does worst on: the slice with the largest error, with both outlines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Num, Shaped
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mambaseg.data_set import load_case
from mambaseg.files import read_labels
from mambaseg.orientation import orientation_of
from mambaseg.volume import spacing_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mambaseg.compare_contenders import Contender
    from mambaseg.data_set import Case

WORST = 3
REFERENCE, PREDICTION = "#56b4e9", "#e69f00"
"""Sky blue and orange: told apart with any kind of colour blindness, and by lightness of neither from brain alone."""


def draw_worst(
    result: Mapping[str, Any], contenders: Sequence[Contender], cases: Sequence[Case], masks: Path
) -> Figure:
    """Draw a row for each model: its worst patients by Dice, with the reference and what it found."""
    label, by_name = result["data_set"]["labels"][0], {case.name: case for case in cases}
    columns = min(WORST, result["data_set"]["patients"])
    figure = Figure(figsize=(3.1 * columns, 3.5 * len(contenders) + 0.4), layout="constrained")
    grid = figure.subplots(len(contenders), columns, squeeze=False)
    for row, contender in enumerate(contenders):
        mine = [one for one in result["cases"] if one["model"] == contender.name and one["label"] == label]
        for column, one in enumerate(worst(mine)):
            axes = grid[row, column]
            mask = masks / contender.file_name / f"{one['case']}.nii.gz"
            number = _draw_case(axes, by_name[one["case"]], mask)
            title = f"{one['case']}, slice {number}: Dice {one['dice']:.3f}"
            axes.set_title(f"{contender.name}\n{title}" if column == 0 else f"\n{title}", fontsize=8)
    lines = [Line2D([], [], color=REFERENCE), Line2D([], [], color=PREDICTION)]
    figure.legend(lines, ["reference", "prediction"], loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def worst(rows: Sequence[Mapping[str, Any]], many: int = WORST) -> list[Mapping[str, Any]]:
    """Return the worst case of each patient, those with the lowest Dice first; of equal ones the larger distance."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["dice"], -row["hd95_mm"])):
        found.setdefault(row["patient"], row)
    return list(found.values())[:many]


def slice_of_largest_error(
    found: Bool[np.ndarray, "slice row column"], truth: Bool[np.ndarray, "slice row column"]
) -> int:
    """Return the slice in which most voxels differ; where none does, the one that shows most of the reference."""
    wrong = np.count_nonzero(found ^ truth, axis=(1, 2))
    return int(np.argmax(wrong if wrong.any() else np.count_nonzero(truth, axis=(1, 2))))


def as_seen(array: Shaped[np.ndarray, "i j k"], affine: np.ndarray) -> Shaped[np.ndarray, "slice row column"]:
    """Return axial slices upright and in radiological order, the patient's left on the right."""
    way = orientation_of(affine)
    return np.flip(array.transpose(way.axes), way.flipped)


def own_number(number: int, slices: int, affine: np.ndarray) -> int:
    """Return the number that a slice of `as_seen` has in its file, as `mambaseg segment --slice` takes it."""
    return slices - 1 - number if 0 in orientation_of(affine).flipped else number


def _draw_case(axes: Any, case: Case, mask: Path) -> int:
    """Draw one slice with both outlines and return its number along the file's own axis."""
    volume, reference = load_case(case)
    affine = volume.affine
    image = as_seen(volume.data[0], affine)
    found, truth = as_seen(read_labels(mask).data > 0, affine), as_seen(reference.data > 0, affine)
    number = slice_of_largest_error(found, truth)
    _, rows, columns = orientation_of(affine).sort(spacing_of(affine))
    low, high = _window(image[number])
    axes.imshow(image[number], cmap="gray", vmin=low, vmax=high, aspect=rows / columns, interpolation="nearest")
    for outlined, color in ((truth[number], REFERENCE), (found[number], PREDICTION)):
        if outlined.any() and not outlined.all():  # matplotlib warns of an outline that is not there
            axes.contour(outlined, levels=[0.5], colors=[color], linewidths=1.1)
    axes.set_axis_off()
    return own_number(number, len(image), affine)


def _window(image: Num[np.ndarray, "row column"]) -> tuple[float, float]:
    """Return what is shown black and white: a few very bright voxels must not make the rest dark."""
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, [1, 99.7]) if finite.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))
