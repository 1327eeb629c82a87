"""Data sets in nnU-Net's raw layout: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, dataset.json, splits.json.

splits.json lists cases under "train", "val" and any other name. A patient with several cases is told by an object
"patients" in it, {CASE: PATIENT}; a case that is not there is a patient of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mambaseg.combine import combine
from mambaseg.errors import DataSetError
from mambaseg.files import read, read_labels
from mambaseg.volume import same_grid

if TYPE_CHECKING:
    from pathlib import Path

    from mambaseg.volume import LabelMap, Volume


@dataclass(frozen=True, slots=True)
class Case:
    """The files of one scan of a patient; a channel without a file is missing."""

    name: str
    images: dict[str, Path]
    label: Path
    patient: str


@dataclass(frozen=True, slots=True)
class DataSet:
    """A folder that can be trained on."""

    folder: Path
    channels: tuple[str, ...]
    labels: dict[int, str]
    """Value and name, background left out."""
    splits: dict[str, tuple[Case, ...]]
    """Patient-level: no patient has cases in two splits."""


def read_data_set(folder: Path) -> DataSet:
    """Read the description and the file names of a data set, not yet its images.

    Raises
    ------
    DataSetError
        If dataset.json or splits.json is missing or damaged, a case has no label or no image, or splits overlap.
    """
    description = _json(folder / "dataset.json")
    try:
        numbered = {int(n): str(c) for n, c in description["channel_names"].items()}
        labels = {int(v): str(n) for n, v in description["labels"].items() if int(v) != 0}
        ending = str(description.get("file_ending", ".nii.gz"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataSetError(
            f"{folder / 'dataset.json'} is not nnU-Net's ({error!r}); it needs channel_names {{\"0\": name}} and "
            'labels {"background": 0, name: 1}'
        ) from None
    channels = tuple(numbered[n].lower() for n in sorted(numbered))
    listed = _json(folder / "splits.json")
    patients = _patients(folder, listed.pop("patients", {}))
    splits = {
        name: tuple(_case(folder, str(case), channels, ending, patients) for case in cases)
        for name, cases in listed.items()
    }
    _check_splits(folder, splits)
    return DataSet(folder, channels, labels, splits)


def load_case(case: Case) -> tuple[Volume, LabelMap]:
    """Read a case's channels, on one grid, and its label map.

    Raises
    ------
    DataSetError
        If image and label do not share a grid.
    """
    volume = combine({channel: read(path) for channel, path in case.images.items()})
    label = read_labels(case.label)
    if not same_grid(volume, label, tolerance_mm=0.01):
        raise DataSetError(
            f"{case.label.name} {label.shape} does not lie on the grid of its image {volume.shape}; resample the "
            "label, nearest neighbour, onto the image"
        )
    return volume, label


def check_label_values(label: LabelMap, data_set: DataSet, case: Case) -> None:
    """Refuse a label map with a value that dataset.json does not name."""
    unknown = sorted(set(np.unique(label.data).tolist()) - {0, *data_set.labels})
    if unknown:
        raise DataSetError(
            f"{case.label.name} holds the label values {unknown}; dataset.json names {sorted(data_set.labels)}: "
            "add them there or mend the label map"
        )


def _patients(folder: Path, given: object) -> dict[str, str]:
    """Return who each case belongs to, where splits.json says so."""
    if not isinstance(given, dict):
        kind = type(given).__name__
        raise DataSetError(
            f"{folder / 'splits.json'} has a {kind} under 'patients'; give an object {{case: patient}}, or leave it "
            "out where every case is a patient"
        )
    return {str(case): str(patient) for case, patient in given.items()}


def _case(folder: Path, name: str, channels: tuple[str, ...], ending: str, patients: dict[str, str]) -> Case:
    """Find the files of a case."""
    paths = {c: folder / "imagesTr" / f"{name}_{n:04d}{ending}" for n, c in enumerate(channels)}
    images = {channel: path for channel, path in paths.items() if path.is_file()}
    label = folder / "labelsTr" / f"{name}{ending}"
    if not images or not label.is_file():
        absent = label if images else next(iter(paths.values()))
        where = absent.relative_to(folder)
        raise DataSetError(f"the case {name} of splits.json has no file {where}; add it or remove the case")
    return Case(name, images, label, patients.get(name, name))


def _check_splits(folder: Path, splits: dict[str, tuple[Case, ...]]) -> None:
    """Refuse empty and overlapping splits: figures from them would be worthless."""
    for needed in ("train", "val"):
        if not splits.get(needed):
            raise DataSetError(f"{folder / 'splits.json'} has no cases under {needed!r}; list one patient at least")
    seen: dict[str, str] = {}
    whose: dict[str, str] = {}
    for split, cases in splits.items():
        for case in cases:
            if case.name in seen:
                raise DataSetError(
                    f"the case {case.name} stands in {seen[case.name]!r} and in {split!r} of splits.json; keep each "
                    "patient in one split"
                )
            if whose.setdefault(case.patient, split) != split:
                raise DataSetError(
                    f"the patient {case.patient} has cases in {whose[case.patient]!r} and in {split!r} of splits.json; "
                    "keep each patient in one split"
                )
            seen[case.name] = split


def _json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise DataSetError(f"there is no {path}; give a folder in nnU-Net's raw layout with a splits.json") from None
    except ValueError as error:
        raise DataSetError(f"{path} is not JSON ({error}); mend it") from None
    if not isinstance(found, dict):
        raise DataSetError(f"{path} holds a {type(found).__name__}; it must hold a JSON object")
    return found
