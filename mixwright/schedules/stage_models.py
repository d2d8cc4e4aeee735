"""What the mixtures of stages are chosen by: a model of the losses at the end of each.

Pooled, all stages are fitted together. What a run measured at the ends is written in components
over the stages, orthogonal polynomials in the logarithm of tokens: the mean, the slope, how it
bends, and so on, as many as there are stages, so that nothing is lost. Each component is fitted by
itself, and a stage's losses are put together from all of them. What stages have in common is
learned from all of them; what tells them apart is smaller, and gets a fit as smooth as its own
noise asks for instead of the difference between two noisy fits.

Source:
    Our own [I]. The paper of RegMix-D regresses stages; `separate_models` is nearest to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from typing import Self

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.model import MixtureModel
from mixwright.study import CompletedRuns, Study

Fit = Callable[[Study, CompletedRuns], MixtureModel]
"""From a study and its runs to a model of the study's metrics."""

_MANY, _AT_ONCE = 1000, 32_768  # mixtures: from how many on they are kept, and predicted together


@dataclass(frozen=True, slots=True)
class StageModel:
    """What a stage's mixture is chosen by.

    Attributes:
        study: its metrics are what is predicted; its objective is that of the stage's end.
        runs: with values of these metrics.
        model: predicts them.
        names: of the m losses that count in the objective.
        loadings: shape `(m, c)`, from the c metrics to the losses.
    """

    study: Study
    runs: CompletedRuns
    model: MixtureModel
    names: tuple[str, ...]
    loadings: FloatArray

    def losses(self, mixture: FloatArray) -> FloatArray:
        """Return the losses `(m,)` predicted of a mixture `(k,)` at the stage's end."""
        losses: FloatArray = self.loadings @ self.model.predict(mixture[None]).mean[0]
        return losses


@dataclass(frozen=True, slots=True)
class SharedModel(MixtureModel):
    """A model of all components, of which each stage has its own objective.

    Every stage simulates the same mixtures: what is predicted of many at once is kept for all.
    """

    kept: dict[bytes, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(cls, model: MixtureModel) -> Self:
        """Return the model with nothing kept yet."""
        return cls(**{one.name: getattr(model, one.name) for one in fields(model)})

    def objective_mean(self, mixtures: FloatArray) -> FloatArray:
        """Return the objective's mean `(q,)` at any number of mixtures."""
        if len(mixtures) < _MANY:
            return MixtureModel.objective_mean(self, mixtures)
        key = sha256(mixtures.tobytes()).digest()
        if key not in self.kept:
            parts = np.array_split(mixtures, -(-len(mixtures) // _AT_ONCE))
            self.kept[key] = np.vstack([self.fitted.predict_mean(part) for part in parts])
        objective: FloatArray = self.kept[key] @ self.objective[self.fitted_metrics]
        return objective


def separate_models(study: Study, stages: Sequence[CompletedRuns], fit: Fit) -> list[StageModel]:
    """Return a model for each stage, fitted to its own runs.

    Args:
        study: the mixture problem.
        stages: runs as they were at the end of each stage.
        fit: makes a model.
    """
    used = _counting(study)
    names, loadings = used.metric_names, np.eye(len(used.metrics))
    parts = [_counting_values(study, runs) for runs in stages]
    return [StageModel(used, part, fit(used, part), names, loadings) for part in parts]


def pooled_models(
    study: Study, stages: Sequence[CompletedRuns], shares: Sequence[float], fit: Fit
) -> list[StageModel]:
    """Return a model for each stage, put together from one fit of all of them.

    Intervals of objectives are calibrated at the last stage.

    Args:
        study: the mixture problem.
        stages: the same runs in the same order, as they were at the end of each stage.
        shares: where the stages end, in shares of the tokens, ascending.
        fit: makes a model.
    """
    used, basis = _counting(study), components(shares)
    losses = np.stack([_counting_values(study, runs).values for runs in stages])
    values = np.einsum("snm,sc->nmc", losses, basis).reshape(losses.shape[1], -1)
    runs = replace(stages[-1], values=values)
    metrics = tuple(
        replace(metric, name=f"{metric.name} (component {place} over stages)")
        for metric in used.metrics
        for place in range(len(basis))
    )
    loadings = [np.kron(np.eye(len(used.metrics)), row) for row in basis]
    studies = [replace(used, metrics=metrics, objective=used.objective @ one) for one in loadings]
    model = SharedModel.of(fit(studies[-1], runs))
    return [
        StageModel(one, runs, replace(model, objective=one.objective), used.metric_names, table)
        for one, table in zip(studies, loadings, strict=True)
    ]


def components(shares: Sequence[float]) -> FloatArray:
    """Return orthogonal polynomials of degrees 0 to s - 1 at the ends of s stages, `(s, s)`.

    Columns are of length 1, rows are stages; polynomials are in the logarithm of tokens.
    """
    logs = np.log(shares)
    places = 2 * (logs - logs.min()) / max(np.ptp(logs), np.finfo(float).tiny) - 1
    basis, triangle = np.linalg.qr(np.polynomial.legendre.legvander(places, len(places) - 1))
    signed: FloatArray = basis * np.sign(np.diag(triangle))
    return signed


def _counting(study: Study) -> Study:
    """Return the study of those metrics that count in the objective."""
    metrics = tuple(
        metric for metric, weight in zip(study.metrics, study.objective, strict=True) if weight
    )
    return replace(study, metrics=metrics, objective=study.objective[study.objective != 0])


def _counting_values(study: Study, runs: CompletedRuns) -> CompletedRuns:
    """Return the runs with the values of those metrics."""
    return replace(runs, values=runs.values[:, study.objective != 0])
