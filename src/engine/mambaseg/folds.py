"""Cross-validation: fold K of N holds some patients back, and the others are learned from."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mambaseg.errors import DataSetError

if TYPE_CHECKING:
    from mambaseg.data_set import DataSet

OVER = ("train", "all")
_REPLACED = ("train", "val")
SEED = 0
"""One for all runs: two networks can be compared patient by patient only if their folds are the same."""


def parse_fold(text: str) -> tuple[int, int]:
    """Return K and N of "K/N".

    Raises
    ------
    DataSetError
        If it is nothing of the kind; `hold_out` checks the numbers.
    """
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if found is None:
        raise DataSetError(f"{text!r} is no fold; give K/N, such as 1/5 for the first of five")
    return int(found[1]), int(found[2])


def hold_out(data_set: DataSet, fold: tuple[int, int], over: str = "train") -> DataSet:
    """Return the data set with a fold's patients as `val` and the others as `train`.

    Parameters
    ----------
    data_set
        Its own `val` cases are scored by no fold of its `train` cases; a further list, such as `test`, stays.
    fold
        K and N: the K-th of N folds, counted from 1.
    over
        What is divided: the "train" cases, or "all" that the data set lists.

    Raises
    ------
    DataSetError
        If there is no such fold.
    """
    number, folds = fold
    if over not in OVER:
        raise DataSetError(f"folds cannot be made over {over!r}; choose from {', '.join(OVER)}")
    if not (folds >= 2 and 1 <= number <= folds):
        raise DataSetError(f"there is no fold {number}/{folds}; give K/N with N of at least 2 and K from 1 to N")
    splits = data_set.splits
    cases = splits["train"] if over == "train" else tuple(case for listed in splits.values() for case in listed)
    patients = sorted({case.patient for case in cases}, key=_place)
    if folds > len(patients):
        raise DataSetError(f"{len(patients)} patients cannot be divided into {folds} folds; give as many at most")
    held = set(patients[number - 1 :: folds])
    others = {} if over == "all" else {name: listed for name, listed in splits.items() if name not in _REPLACED}
    learn = tuple(case for case in cases if case.patient not in held)
    check = tuple(case for case in cases if case.patient in held)
    return replace(data_set, splits={"train": learn, "val": check, **others})


def describe_fold(data_set: DataSet, fold: tuple[int, int], over: str) -> dict[str, Any]:
    """Return what a card says of the fold that a data set was divided by."""
    held = [case.name for case in data_set.splits["val"]]
    return {"number": fold[0], "of": fold[1], "over": over, "seed": SEED, "val": held}


def _place(patient: str) -> str:
    """Return what patients are shuffled by; unlike a random generator's order it is the same in every version."""
    return hashlib.sha256(f"{SEED}/{patient}".encode()).hexdigest()
