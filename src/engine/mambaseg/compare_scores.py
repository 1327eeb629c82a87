"""Scores of a comparison: every label of the data set for every patient, whether it occurs or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from mambaseg.evaluate import FIGURES, score
from mambaseg.paired_statistics import Summary, summarise
from mambaseg.volume import LabelMap

if TYPE_CHECKING:
    from mambaseg.data_set import Case

ANY = "any"
"""All labels as one."""
SCORES = (*FIGURES, "absolute_volume_error_ml")
"""Signed errors cancel over patients; without their sign they do not."""
Row = Mapping[str, Any]


def scored_labels(labels: Mapping[int, str]) -> list[str]:
    """Return the names under which there are scores; of several labels the first is all of them as one."""
    names = [labels[value] for value in sorted(labels)]
    return names if len(names) == 1 else [ANY, *names]


def score_case(found: LabelMap, truth: LabelMap, case: Case, labels: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return a row for each of `scored_labels`, also where reference and prediction are both empty.

    Raises
    ------
    DataSetError
        If the maps do not share a grid.
    """
    rows = []
    values = {name: [value] for value, name in labels.items()} | ({ANY: list(labels)} if len(labels) > 1 else {})
    for label in scored_labels(labels):
        (one,) = score(_only(found, values[label]), _only(truth, values[label]), case.name, merge=True)
        row = {"patient": case.patient, **asdict(one), "label": label}
        rows.append({**row, "absolute_volume_error_ml": abs(one.volume_error_ml)})
    return rows


def scores_of(
    rows: Sequence[Row], models: Sequence[str], label: str, figure: str
) -> Float[np.ndarray, "model patient"]:
    """Return one score of all models, with the same patients in the same columns; of a patient's cases the mean."""
    patients = list(dict.fromkeys(row["patient"] for row in rows))
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["label"] == label:
            found.setdefault((row["model"], row["patient"]), []).append(row[figure])
    return np.array([[np.mean(found[model, patient]) for patient in patients] for model in models], dtype=np.float64)


def summaries(rows: Sequence[Row], models: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Return, by model, label and score, a mean with its interval and the difference to the first model."""
    found: dict[str, Any] = {model: {label: {} for label in labels} for model in models}
    for label in labels:
        for figure in SCORES:
            lines: list[Summary] = summarise(scores_of(rows, models, label, figure))
            for model, line in zip(models, lines, strict=True):
                found[model][label][figure] = asdict(line)
    return found


def _only(labels: LabelMap, values: Sequence[int]) -> LabelMap:
    return LabelMap(np.isin(labels.data, values).astype(np.uint8), labels.affine)
