"""Statistics of models that saw the same patients: each draw takes the same patients of all of them.

Pure functions of an array of scores, one row for each model and one column for each patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import wilcoxon

DRAWS = 10_000
SHARE = 95.0
"""Percent of the draws that lie in an interval."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over patients and the interval around it."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Summary:
    """One score of one model over all patients."""

    mean: float
    low: float
    high: float
    median: float
    difference: Interval | None
    """To the first model, this one minus that; None for the first itself."""
    p: float | None
    """Of the Wilcoxon signed-rank test against the first model."""


def summarise(scores: Float[np.ndarray, "model patient"], seed: int = 0, draws: int = DRAWS) -> list[Summary]:
    """Return mean, interval, median and the difference to the first model, for each model.

    Parameters
    ----------
    scores
        The same patients in the same order for every model.
    seed
        Of the bootstrap.
    draws
        How many times patients are drawn with replacement.
    """
    means = bootstrap(scores, seed, draws)
    differences = bootstrap(scores - scores[:1], seed, draws)
    return [
        Summary(
            mean=mean.mean,
            low=mean.low,
            high=mean.high,
            median=float(np.median(scores[model])),
            difference=differences[model] if model else None,
            p=signed_rank_p(scores[model], scores[0]) if model else None,
        )
        for model, mean in enumerate(means)
    ]


def bootstrap(scores: Float[np.ndarray, "model patient"], seed: int = 0, draws: int = DRAWS) -> list[Interval]:
    """Return each row's mean and its percentile interval over patients drawn with replacement.

    The same seed and number of patients draw the same patients, so that rows of two calls are paired.
    """
    patients = scores.shape[1]
    # How often each patient is drawn says all that which patient came when would say.
    times = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), draws)
    drawn = scores @ (times.T / patients)
    low, high = np.percentile(drawn, [(100 - SHARE) / 2, (100 + SHARE) / 2], axis=1)
    return [Interval(*map(float, three)) for three in zip(scores.mean(axis=1), low, high, strict=True)]


def signed_rank_p(one: Float[np.ndarray, "patient"], other: Float[np.ndarray, "patient"]) -> float:
    """Return the two-sided p of the Wilcoxon signed-rank test; 1 where no patient differs.

    Patients without a difference are left out, and differences that only rounding tells apart are ties.
    """
    differences = np.round(one - other, 12)
    differences = differences[differences != 0]
    return float(wilcoxon(differences).pvalue) if differences.size else 1.0
