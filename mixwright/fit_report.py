"""How far a fit is to be trusted: cross-validated scores, and the predictions behind them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.surrogates.base import Choice
from mixwright.validation import Scores


@dataclass(frozen=True, slots=True)
class Series:
    """Observed values `(n,)`, NaN where missing, beside predictions with intervals."""

    observed: FloatArray
    predicted: FloatArray
    lower: FloatArray
    upper: FloatArray

    def to_json(self) -> dict[str, list[float | None]]:
        """Return lists, with None where there is no number."""
        return {
            "observed": _to_list(self.observed),
            "predicted": _to_list(self.predicted),
            "lower": _to_list(self.lower),
            "upper": _to_list(self.upper),
        }


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Predictions of every run by fits that did not see it.

    Attributes:
        run_ids: length n.
        metrics: one series per fitted metric, as measured.
        objective: lower is better; observed where a run has every metric of the objective.
    """

    run_ids: tuple[str, ...]
    metrics: Mapping[str, Series]
    objective: Series


@dataclass(frozen=True, slots=True)
class Transfer:
    """Scores on runs of a fidelity that was not fitted, predicted as if it had been."""

    runs: int
    metrics: Mapping[str, Scores]
    objective: Scores


@dataclass(frozen=True, slots=True)
class FitReport:
    """What a fit did, and how well it predicts runs it did not see.

    Attributes:
        surrogate: the name asked for.
        chosen: the surrogate used, and why.
        fidelity: where the runs were trained.
        runs_used: runs fitted on.
        runs_available: ended runs of the study, at every fidelity.
        metrics: cross-validated scores of each fitted metric.
        objective: cross-validated scores of the objective.
        transfer: scores on each other fidelity that has runs.
        out_of_fold: the predictions behind the scores.
        warnings: what the user should know.
    """

    surrogate: str
    chosen: Choice
    fidelity: str
    runs_used: int
    runs_available: int
    metrics: Mapping[str, Scores]
    objective: Scores
    transfer: Mapping[str, Transfer]
    out_of_fold: OutOfFold
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values; what is undefined is None."""
        return {
            "surrogate": self.surrogate,
            "chosen": {**asdict(self.chosen), "candidates": [*map(asdict, self.chosen.candidates)]},
            "fidelity": self.fidelity,
            "runs_used": self.runs_used,
            "runs_available": self.runs_available,
            "metrics": _scores_to_json(self.metrics),
            "objective": asdict(self.objective),
            "transfer": {
                fidelity: {
                    "runs": transfer.runs,
                    "metrics": _scores_to_json(transfer.metrics),
                    "objective": asdict(transfer.objective),
                }
                for fidelity, transfer in self.transfer.items()
            },
            "out_of_fold": {
                "run_ids": list(self.out_of_fold.run_ids),
                "metrics": {n: s.to_json() for n, s in self.out_of_fold.metrics.items()},
                "objective": self.out_of_fold.objective.to_json(),
            },
            "warnings": list(self.warnings),
        }


def _scores_to_json(scores: Mapping[str, Scores]) -> dict[str, dict[str, Any]]:
    return {name: asdict(score) for name, score in scores.items()}


def _to_list(values: FloatArray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
