"""Schedules compared by proxies: means over seeds, and paired differences with intervals.

Source:
    Student's t for paired samples: two schedules of a seed share initial weights and random words,
    so that much of a seed's luck cancels in their difference.
"""

from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its interval; `lower` and `upper` are None where there is but one value.

    Attributes:
        mean: of the values.
        lower: end of the interval.
        upper: end of the interval.
        count: of the values.
    """

    mean: float
    lower: float | None
    upper: float | None
    count: int


def interval(values: FloatArray) -> Interval | None:
    """Return the mean of values `(n,)` and its 95 % interval; None where there are none."""
    from scipy.stats import t as student

    count = len(values)
    if not count:
        return None
    mean = float(values.mean())
    if count == 1:
        return Interval(mean, None, None, 1)
    quantile = float(student.ppf((1 + CONFIDENCE) / 2, count - 1))
    half = quantile * float(values.std(ddof=1)) / float(np.sqrt(count))
    return Interval(mean, mean - half, mean + half, count)


def paired(values: FloatArray, against: FloatArray) -> Interval | None:
    """Return how much higher values `(r,)` are than others of the same seeds; NaN where missing."""
    differences = values - against
    return interval(differences[np.isfinite(differences)])
