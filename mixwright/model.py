"""A fitted surrogate with calibrated intervals: what predictions and recommendations are made of.

It is arrays only, so it loads and predicts wherever numpy does.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright.spaces.implied_mixture import ImpliedMixture, seen
from mixwright.surrogates import SURROGATES, Differentiable, FittedSurrogate

_FORMAT = "mixwright-model/2"
_READ = (_FORMAT, "mixwright-model/1")  # which knew no features
_STATE_PREFIX, _FEATURES_PREFIX = "state/", "features/"
_CHUNK = 32_768  # mixtures scored at once: bounds memory at k = 17, m = 13 to tens of megabytes


@dataclass(frozen=True, slots=True)
class Intervals:
    """Predictions with 90 % intervals, all of the same shape."""

    mean: FloatArray
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, slots=True)
class MixtureModel:
    """Predicts every metric of a study, and its objective, at any mixture.

    Attributes:
        kind: name of the surrogate, a key of `SURROGATES`.
        fitted: the surrogate, fitted on oriented values of the columns in `fitted_metrics`.
        fitted_metrics: shape `(f,)`, the columns of the study's metrics that could be fitted; the
            others have no weight in the objective, and their predictions are NaN.
        mixtures: shape `(n, k)`, what it was fitted on.
        objective: shape `(m,)`, weights of the metrics.
        signs: shape `(m,)`, -1 for metrics that are maximised.
        multipliers: shape `(f,)`, half-width of an interval in the surrogate's standard deviations.
        objective_multiplier: the same for the objective.
        features: what the surrogate sees beside the mixtures.
    """

    kind: str
    fitted: FittedSurrogate
    fitted_metrics: IntArray
    mixtures: FloatArray
    objective: FloatArray
    signs: FloatArray
    multipliers: FloatArray
    objective_multiplier: float
    features: ImpliedMixture | None = None

    @property
    def is_differentiable(self) -> bool:
        """Whether `objective_gradient` exists."""
        return self.features is None and self.fitted.is_differentiable

    @property
    def is_smooth(self) -> bool:
        """Whether the objective has no steps, as that of trees has."""
        return self.fitted.is_differentiable

    @property
    def is_convex(self) -> bool:
        """Whether the objective is convex in the weights.

        Laws are fitted on oriented values, so a maximised metric has a convex law too; what
        breaks convexity is a negative weight in the objective.
        """
        is_convex = self.features is None and self.fitted.is_convex
        return is_convex and bool((self.objective >= 0).all())

    def predict(self, mixtures: FloatArray) -> Intervals:
        """Return metrics as measured at `mixtures` `(q, k)`, each array `(q, m)`."""
        prediction = self.fitted.predict(seen(self.features, mixtures))
        half = prediction.std * self.multipliers
        low, high = prediction.mean - half, prediction.mean + half
        flipped = self.signs[self.fitted_metrics] < 0
        return Intervals(
            mean=self._spread(np.where(flipped, -prediction.mean, prediction.mean)),
            lower=self._spread(np.where(flipped, -high, low)),
            upper=self._spread(np.where(flipped, -low, high)),
        )

    def predict_objective(self, mixtures: FloatArray) -> Intervals:
        """Return the objective at `mixtures` `(q, k)`, lower is better, each array `(q,)`."""
        prediction = self.fitted.predict(seen(self.features, mixtures))
        mean, std = combine(prediction.mean, prediction.std, self._weights())
        half = std * self.objective_multiplier
        return Intervals(mean, mean - half, mean + half)

    def objective_mean(self, mixtures: FloatArray) -> FloatArray:
        """Return the objective's mean `(q,)` at any number of mixtures, in bounded memory."""
        weights, means = self._weights(), np.empty(len(mixtures))
        for start in range(0, len(mixtures), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            points = seen(self.features, mixtures[chunk])
            means[chunk] = self.fitted.predict_mean(points) @ weights
        return means

    def objective_gradient(self, mixtures: FloatArray) -> FloatArray:
        """Return d objective / d weights, shape `(q, k)`.

        Raises:
            InvalidInputError: the surrogate has no gradient.
        """
        if not self.is_differentiable or not isinstance(self.fitted, Differentiable):
            raise InvalidInputError(f"surrogate '{self.kind}' has no gradient", field="surrogate")
        gradient: FloatArray = np.einsum(
            "qmk,m->qk", self.fitted.gradient(mixtures), self._weights()
        )
        return gradient

    def to_bytes(self) -> bytes:
        """Return a NumPy archive from which `from_bytes` rebuilds this model, bit for bit."""
        header = json.dumps({"format": _FORMAT, "kind": self.kind})
        arrays = {_STATE_PREFIX + name: array for name, array in self.fitted.to_state().items()}
        if self.features is not None:
            state = self.features.to_state()
            arrays |= {_FEATURES_PREFIX + name: array for name, array in state.items()}
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            header=np.array(header),
            fitted_metrics=self.fitted_metrics,
            mixtures=self.mixtures,
            objective=self.objective,
            signs=self.signs,
            multipliers=self.multipliers,
            objective_multiplier=np.array(self.objective_multiplier),
            allow_pickle=False,
            **arrays,
        )
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Rebuild a model.

        Raises:
            InvalidInputError: `data` was written in another format.
        """
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            if header["format"] not in _READ:
                raise InvalidInputError(f"model format {header['format']!r}; expected {_FORMAT!r}")
            state, features = (
                _under(prefix, archive) for prefix in (_STATE_PREFIX, _FEATURES_PREFIX)
            )
            return cls(
                kind=header["kind"],
                fitted=SURROGATES[header["kind"]].fitted.from_state(state),
                fitted_metrics=archive["fitted_metrics"],
                mixtures=archive["mixtures"],
                objective=archive["objective"],
                signs=archive["signs"],
                multipliers=archive["multipliers"],
                objective_multiplier=float(archive["objective_multiplier"]),
                features=ImpliedMixture.from_state(features) if features else None,
            )

    def _weights(self) -> FloatArray:
        return self.objective[self.fitted_metrics]

    def _spread(self, columns: FloatArray) -> FloatArray:
        """Return `columns` `(q, f)` at their places among all metrics, NaN elsewhere."""
        spread = np.full((len(columns), len(self.objective)), np.nan)
        spread[:, self.fitted_metrics] = columns
        return spread


def _under(prefix: str, archive: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    names = [name for name in archive if name.startswith(prefix)]
    return {name.removeprefix(prefix): archive[name] for name in names}


def combine(
    mean: FloatArray, std: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the objective's mean and standard deviation `(q,)` from those of metrics `(q, f)`.

    Errors of metrics are taken as independent here; the calibration of the objective's own
    intervals absorbs what that misses.
    """
    return mean @ weights, np.sqrt(std**2 @ weights**2)
