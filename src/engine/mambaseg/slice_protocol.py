"""The protocol of the work that this project grew from: slices with much tumour, split at random, scored in twos.

It leaks: neighbouring slices of a patient, which look alike, are learned from and tested on. What it measures is
reported only to show that, beside the same network's scores on patients that it never saw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_PIXELS = 500
"""A slice is taken if it shows more tumour than this; slices that are hard or empty are left out."""
TRAIN_SHARE = 0.8
BATCH = 2
THRESHOLD = 0.5
SMOOTH = 1.0

Slice = tuple[str, int]
"""A case and the number of one of its slices."""


def large_slices(masks: Mapping[str, Shaped[np.ndarray, "slice row column"]]) -> list[Slice]:
    """Return the slices with more than 500 pixels of any label, of all cases."""
    return [
        (case, int(number))
        for case, mask in masks.items()
        for number in np.flatnonzero(np.count_nonzero(mask, axis=(1, 2)) > LEAST_PIXELS)
    ]


def leaky_split(slices: list[Slice], seed: int = 0) -> tuple[list[Slice], list[Slice]]:
    """Split slices 80 to 20 at random, whichever patient they are of.

    It leaks patients: almost every patient of the second list is in the first one too, with the slices next to it.
    Scores on it say nothing of new patients; they are reported only to show that.

    Returns
    -------
    tuple
        Slices to learn from and slices to test on.
    """
    order = np.random.default_rng(seed).permutation(len(slices))
    learned = int(TRAIN_SHARE * len(slices))
    return [slices[n] for n in order[:learned]], [slices[n] for n in order[learned:]]


def leaked_patients(learn: list[Slice], test: list[Slice]) -> float:
    """Return the share of test slices whose patient was learned from."""
    known = {case for case, _ in learn}
    return sum(case in known for case, _ in test) / len(test) if test else 0.0


def score_in_twos(
    probabilities: Float[np.ndarray, "n row column"], masks: Shaped[np.ndarray, "n row column"]
) -> dict[str, float]:
    """Return Dice and IoU as that work scored them: a batch of two slices as one flat mask, mean over batches.

    A missed slice hides behind the larger one that it shares its batch with, and 1 is added above and below. With
    `leaky_split` it scores patients that were learned from; it is reported only to show how much that flatters.

    Parameters
    ----------
    probabilities
        Of tumour, for the slices in the order of the test list; more than 0.5 counts as found.
    masks
        The reference; what is not 0 is tumour.
    """
    dice, iou = [], []
    for start in range(0, len(masks), BATCH):
        found, truth = probabilities[start : start + BATCH] > THRESHOLD, masks[start : start + BATCH] != 0
        overlap, both = np.count_nonzero(found & truth), np.count_nonzero(found) + np.count_nonzero(truth)
        dice.append((2 * overlap + SMOOTH) / (both + SMOOTH))
        iou.append((overlap + SMOOTH) / (both - overlap + SMOOTH))
    return {"dice": float(np.mean(dice)), "iou": float(np.mean(iou))}
