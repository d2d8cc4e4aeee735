"""A recommended mixture with its evidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.recommend.base import Intervals
from mixwright.study import Study


@dataclass(frozen=True, slots=True)
class Judged:
    """A mixture, what is predicted of it and where it stands.

    Attributes:
        weights: shape `(k,)`.
        objective: arrays of shape `()`.
        feasible: whether it satisfies the constraints.
        inside_hull: whether it lies among the mixtures that the model was fitted on.
        observed: what was measured, if the mixture is a run's: names and values.
    """

    weights: FloatArray
    objective: Mapping[str, float | None]
    feasible: bool
    inside_hull: bool
    observed: Mapping[str, str | float]

    def to_json(self, study: Study) -> dict[str, Any]:
        """Return JSON values with the `weights` or `parameters` of the study's space."""
        return {
            study.space.field: study.space.describe(study, self.weights),
            "objective": dict(self.objective),
            "feasible": self.feasible,
            "inside_hull": self.inside_hull,
            **self.observed,
        }


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A mixture to train the target model on.

    Attributes:
        method: how it was found.
        chosen: the mixture.
        metrics: by metric name, what is predicted of it.
        baselines: those of the space, and `best_observed`, None without a usable run.
        active_constraints: what keeps it where it is.
        epochs: shape `(k,)`, how often each domain is repeated; NaN if that is not known.
        ranking: positions in the pool and their objectives, best first; None without a pool.
        warnings: what to know before using it.
    """

    method: str
    chosen: Judged
    metrics: Mapping[str, Mapping[str, float | None]]
    baselines: Mapping[str, Judged | None]
    active_constraints: tuple[Mapping[str, str | float], ...]
    epochs: FloatArray
    ranking: tuple[Mapping[str, Any], ...] | None
    warnings: tuple[str, ...]

    @property
    def weights(self) -> FloatArray:
        """The mixture, shape `(k,)`; sums to 1 and satisfies the constraints within 1e-9."""
        return self.chosen.weights

    def to_json(self, study: Study) -> dict[str, Any]:
        """Return the recommendation as JSON values; what is not known is None."""
        answer = {
            "method": self.method,
            **self.chosen.to_json(study),
            "metrics": {name: dict(interval) for name, interval in self.metrics.items()},
            "baselines": {
                name: None if baseline is None else baseline.to_json(study)
                for name, baseline in self.baselines.items()
            },
            "active_constraints": [dict(constraint) for constraint in self.active_constraints],
            "epochs": _epochs(study, self.epochs),
            "warnings": list(self.warnings),
        }
        if self.ranking is not None:
            answer["ranking"] = [dict(place) for place in self.ranking]
        return answer


def _epochs(study: Study, epochs: FloatArray) -> dict[str, float | None]:
    """Return epochs by domain; none where points are no shares of domains."""
    if study.space.field != "weights":
        return {}
    return {name: finite(one) for name, one in zip(study.domain_names, epochs, strict=True)}


def interval(intervals: Intervals, *place: int) -> dict[str, float | None]:
    """Return one of many predictions as JSON values."""
    return {
        "mean": finite(intervals.mean[place]),
        "lower": finite(intervals.lower[place]),
        "upper": finite(intervals.upper[place]),
    }


def finite(value: float) -> float | None:
    """Return the number, or None if it is not finite."""
    return float(value) if np.isfinite(value) else None
