"""Fronts and the volume they dominate below the origin; lower is better.

BoTorch does the work. It is loaded when it is needed: it takes seconds, and a server does without.
"""

from dataclasses import dataclass

import numpy as np

from mixwright.arrays import BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class Boxes:
    """What no point dominates, as boxes: `low`, `high`, each `(b, m)`, in negated metrics."""

    low: FloatArray
    high: FloatArray


def is_on_front(points: FloatArray) -> BoolArray:
    """Return which of `points` `(p, m)` no other is better than in every metric."""
    import torch
    from botorch.utils.multi_objective.pareto import is_non_dominated

    front: BoolArray = is_non_dominated(torch.from_numpy(-points)).numpy()
    return front


def hypervolume(points: FloatArray) -> float:
    """Return the volume between the origin and `points` `(p, m)`, of those below it."""
    import torch
    from botorch.utils.multi_objective.hypervolume import Hypervolume

    below = points[(points < 0).all(axis=1)]
    if not len(below):
        return 0.0
    front = torch.from_numpy(-below[is_on_front(below)])
    return float(Hypervolume(torch.zeros(points.shape[1], dtype=torch.float64)).compute(front))


def boxes(points: FloatArray) -> Boxes:
    """Return the boxes below the origin that no point of `(p, m)` dominates."""
    if points.shape[1] == 1:
        best = min(float(points.min(initial=0.0)), 0.0)
        return Boxes(np.array([[-best]]), np.array([[np.inf]]))
    import torch
    from botorch.utils.multi_objective.box_decompositions import FastNondominatedPartitioning

    origin = torch.zeros(points.shape[1], dtype=torch.float64)
    cells = FastNondominatedPartitioning(origin, Y=torch.from_numpy(-points))
    low, high = cells.get_hypercell_bounds().numpy()
    return Boxes(low, high)


def improvement(cells: Boxes, points: FloatArray) -> FloatArray:
    """Return the volume `(...)` that each of `points` `(..., m)` adds by itself."""
    reach = np.minimum(-points[..., None, :], cells.high) - cells.low
    volume: FloatArray = np.prod(np.maximum(reach, 0.0), axis=-1).sum(axis=-1)
    return volume
