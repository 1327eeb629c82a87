"""Score label maps against references, with definitions that are pinned down.

| score           | definition                                                                                       |
|-----------------|--------------------------------------------------------------------------------------------------|
| dice, iou       | over all voxels of the volume, empty slices included; 1 if both masks are empty                   |
| hd95_mm         | 95th percentile of the symmetric surface distance (MONAI); the volume's diagonal if one is empty  |
| nsd_1mm         | normalised surface Dice at 1 mm with subvoxel surface areas (MONAI); 0 if one mask is empty       |
| volume_error_ml | prediction minus reference                                                                        |

MONAI drops a missed structure's distance from the mean, so that missing more looks better; here it is worst case.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mambaseg.errors import DataSetError
from mambaseg.extensions import READABLE, stem_of
from mambaseg.files import read_labels
from mambaseg.jobs import Progress
from mambaseg.volume import same_grid, spacing_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from mambaseg.volume import LabelMap


@dataclass(frozen=True, slots=True)
class Score:
    """One label of one case."""

    case: str
    label: str
    dice: float
    iou: float
    hd95_mm: float
    nsd_1mm: float
    volume_error_ml: float


FIGURES = ("dice", "iou", "hd95_mm", "nsd_1mm", "volume_error_ml")


def score(prediction: LabelMap, reference: LabelMap, case: str = "", merge: bool = False) -> list[Score]:
    """Score every label that occurs in either map; with `merge`, all labels as one called "any".

    Raises
    ------
    DataSetError
        If the maps do not share a grid.
    """
    if not same_grid(prediction, reference, tolerance_mm=0.01):
        raise DataSetError(
            f"the prediction of {case or 'this case'} {prediction.shape} does not lie on the grid of its reference "
            f"{reference.shape}; compare masks of the same image"
        )
    if merge:
        pairs = {"any": (prediction.data > 0, reference.data > 0)}
    else:
        values = sorted({*np.unique(prediction.data).tolist(), *np.unique(reference.data).tolist()} - {0}) or [1]
        pairs = {str(value): (prediction.data == value, reference.data == value) for value in values}
    return [
        Score(case, label, **_figures(found, truth, reference.affine, reference.voxel_ml))
        for label, (found, truth) in pairs.items()
    ]


def evaluate(
    prediction: Path | str, reference: Path | str, merge: bool = False
) -> Generator[Progress, None, dict[str, Any]]:
    """Score one file against another, or every file of a folder against its namesake; a task.

    Returns
    -------
    dict
        `cases`, a list of scores, and `mean`, a dict by label.

    Raises
    ------
    DataSetError
        If a file of one folder has no namesake in the other.
    """
    scores: list[Score] = []
    pairs = _pairs(Path(prediction), Path(reference))
    for number, (case, found, truth) in enumerate(pairs):
        scores += score(read_labels(found), read_labels(truth), case, merge)
        yield Progress("scoring", number + 1, len(pairs))
    return {"cases": [asdict(one) for one in scores], "mean": means(scores)}


def means(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Mean of each figure over cases, by label."""
    return {
        label: {f: float(np.mean([getattr(s, f) for s in scores if s.label == label])) for f in FIGURES}
        for label in sorted({s.label for s in scores})
    }


def _pairs(prediction: Path, reference: Path) -> list[tuple[str, Path, Path]]:
    """Match files of two folders by their names."""
    if not (prediction.is_dir() and reference.is_dir()):
        return [(stem_of(prediction), prediction, reference)]
    found, truth = _volumes(prediction), _volumes(reference)
    missing = sorted(set(found) - set(truth))
    if not found or missing:
        what = f"{missing[0]} has no reference in {reference}" if missing else f"{prediction} holds no volumes"
        raise DataSetError(f"{what}; prediction and reference of a case need the same file name")
    return [(case, path, truth[case]) for case, path in sorted(found.items())]


def _volumes(folder: Path) -> dict[str, Path]:
    return {stem_of(path): path for path in folder.iterdir() if path.name.lower().endswith(tuple(READABLE))}


def _figures(found: np.ndarray, truth: np.ndarray, affine: np.ndarray, voxel_ml: float) -> dict[str, float]:
    overlap, size, union = int((found & truth).sum()), int(found.sum() + truth.sum()), int((found | truth).sum())
    error = float(int(found.sum()) - int(truth.sum())) * voxel_ml
    if size == 0:
        return {"dice": 1.0, "iou": 1.0, "hd95_mm": 0.0, "nsd_1mm": 1.0, "volume_error_ml": 0.0}
    figures = {"dice": 2 * overlap / size, "iou": overlap / union, "volume_error_ml": error}
    spacing = spacing_of(affine)
    if not (found.any() and truth.any()):
        diagonal = float(np.linalg.norm(np.array(found.shape) * spacing))
        return {**figures, "hd95_mm": diagonal, "nsd_1mm": 0.0}
    hd95, nsd = _surface(found, truth, spacing)
    return {**figures, "hd95_mm": hd95, "nsd_1mm": nsd}


def _surface(found: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]) -> tuple[float, float]:
    """HD95 in mm and NSD at 1 mm, on the box around both masks: distances do not depend on what lies outside."""
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    around = [np.flatnonzero((found | truth).any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple(slice(max(0, a[0] - 2), a[-1] + 3) for a in around)
    one, other = (torch.from_numpy(np.pad(mask[box], 1))[None, None].float() for mask in (found, truth))
    options: dict[str, Any] = {"include_background": True, "spacing": list(spacing)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 warns of an argument that it passes to itself
        hd95 = compute_hausdorff_distance(one, other, percentile=95, **options)
        nsd = compute_surface_dice(one, other, [1.0], use_subvoxels=True, **options)
    return float(hd95), float(nsd)
