"""Slices of what the model of Bayesian optimisation believes at the target fidelity.

A report is made while somebody waits for it, so scales and correlations are searched for on about
a hundred of the runs; the belief itself is then given all of them, up to some hundreds.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from app.report.documents import Document
from app.report.runs import weights_of
from app.report.slices import EffectSlice, effect_slices
from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import FitDidNotConvergeError
from mixwright.model import Intervals
from mixwright.study import CompletedRuns, Study

if TYPE_CHECKING:
    from mixwright.bayesopt.belief import Belief

FEWEST = 4  # runs, with which a belief says more than its prior
SEARCHED = 128  # runs
BELIEVED = 500  # runs
MOST_DOMAINS = 12

_LOCK = Lock()


@dataclass(frozen=True, slots=True)
class AtTarget:
    """A belief about the target fidelity, as slices are cut through it."""

    belief: "Belief"
    mixtures: FloatArray

    def predict_objective(self, mixtures: FloatArray) -> Intervals:
        """Return the mean outcome at each of `mixtures` `(q, k)`, without a run's noise.

        Hyperparameters are taken as found: what is not known of them would take seconds.
        """
        from mixwright.bayesopt.insight import normal_interval

        at_target = np.full(len(mixtures), self.belief.target)
        mean = self.belief.mean(mixtures, at_target)
        return Intervals(*normal_interval(mean, self.belief.variance(mixtures, at_target)))


def belief_slices(
    study: Study,
    runs: Sequence[Document],
    without: Collection[str],
    weights: FloatArray,
    domains: Sequence[str],
) -> list[EffectSlice]:
    """Return slices through `weights` `(k,)`, largest effect first.

    Args:
        study: the study.
        runs: that count.
        without: identifiers of runs that are given no weight.
        weights: the mixture.
        domains: to vary, `MOST_DOMAINS` of them, the first first.

    Returns:
        Nothing where there are too few runs, none at the target, or the model finds no covariance.
    """
    with _one_thread():
        at_target = _learned(study, [run for run in runs if run["id"] not in without])
        if at_target is None:
            return []
        return effect_slices(study.domains, weights, at_target, domains[:MOST_DOMAINS])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have matrices of this size multiplied by one thread: several are many times slower."""
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError:  # it comes with the extra `fit`
        yield
        return
    with _LOCK, threadpool_limits(limits=1):  # the limit is the process's
        yield


def _learned(study: Study, runs: Sequence[Document]) -> AtTarget | None:
    from mixwright.bayesopt.model import condition, fit
    from mixwright.bayesopt.observations import with_noise_of_replicates
    from mixwright.bayesopt.observing import History, gather, target_of

    evidence = gather(study, History(_completed(study, runs)))
    every = evidence.of_sum(study.objective)
    target = target_of(study)
    if len(every.values) < FEWEST or target not in every.fidelity:
        return None
    some = with_noise_of_replicates(every.take(_drawn(every.fidelity, target, BELIEVED)))
    searched = some.take(_drawn(some.fidelity, target, SEARCHED))
    try:
        found = fit(searched, evidence.structure).hyperparameters
        belief = condition(some, evidence.structure, found)
    except FitDidNotConvergeError:
        return None
    return AtTarget(belief, some.mixtures)


def _completed(study: Study, runs: Sequence[Document]) -> CompletedRuns:
    """Return runs as arrays, NaN where a metric is missing."""
    measured = [[run["metrics"].get(name) for name in study.metric_names] for run in runs]
    values = np.array([[np.nan if one is None else one for one in row] for row in measured])
    mixtures = np.array([weights_of(run["weights"], study.domain_names) for run in runs])
    return CompletedRuns(
        mixtures=mixtures.reshape(len(runs), len(study.domains)),
        values=values.reshape(len(runs), len(study.metrics)),
        fidelity=np.array([run["fidelity"] for run in runs], dtype=np.str_),
        ids=tuple(run["id"] for run in runs),
    )


def _drawn(fidelity: IntArray, target: int, most: int) -> IntArray:
    """Return all rows, or `most` drawn at random, the target's first up to a half."""
    if len(fidelity) <= most:
        return np.arange(len(fidelity))
    shuffled = np.random.default_rng(0).permutation(len(fidelity))
    own = shuffled[fidelity[shuffled] == target][: most // 2]
    rest = shuffled[~np.isin(shuffled, own)][: most - len(own)]
    return np.sort(np.concatenate([own, rest]))
