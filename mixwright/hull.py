"""Whether a mixture lies among the mixtures that were tried.

A surrogate interpolates inside the convex hull of its runs and extrapolates outside it, so every
prediction and recommendation says on which side it stands.
"""

import numpy as np
from scipy.optimize import nnls

from mixwright.arrays import BoolArray, FloatArray

HULL_TOLERANCE = 1e-7


def inside_hull(points: FloatArray, queries: FloatArray) -> BoolArray:
    """Return whether each query is a convex combination of the points.

    A query outside the points' bounding box is outside their hull; the others are decided by
    non-negative least squares. As all mixtures sum to 1, so do the weights of an exact
    combination, and no constraint need say it.

    Args:
        points: shape `(n, k)`, the mixtures of the runs.
        queries: shape `(q, k)`.

    Returns:
        Shape `(q,)`; distances up to 1e-7 count as inside.

    Departures:
        The textbook test is a linear programme. It gives the same answers some fifteen times
        slower (`benchmarks/geometry.py`).
    """
    points = np.unique(points, axis=0)
    low, high = points.min(axis=0) - HULL_TOLERANCE, points.max(axis=0) + HULL_TOLERANCE
    inside: BoolArray = ((queries >= low) & (queries <= high)).all(axis=1)
    for i in np.flatnonzero(inside):
        inside[i] = nnls(points.T, queries[i])[1] <= HULL_TOLERANCE
    return inside
