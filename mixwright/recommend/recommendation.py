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
        """Return JSON values with `weights` by domain name."""
        return {
            "weights": by_domain(study, self.weights),
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
        baselines: `prior`, `uniform` and `best_observed`, the last None without a usable run.
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
            "epochs": {
                name: finite(epochs)
                for name, epochs in zip(study.domain_names, self.epochs, strict=True)
            },
            "warnings": list(self.warnings),
        }
        if self.ranking is not None:
            answer["ranking"] = [dict(place) for place in self.ranking]
        return answer


def by_domain(study: Study, weights: FloatArray) -> dict[str, float]:
    """Return weights by domain name."""
    return {name: float(w) for name, w in zip(study.domain_names, weights, strict=True)}


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
