"""The default surrogate: chooses and blends by cross-validation inside the user's own runs.

Members are the share power laws with 1, 2 and 4 terms and the Gaussian process, as far as there
are runs enough for them; weights come from their out-of-fold errors on those same runs, beyond
whose range the Gaussian process fades. When predictions are meant for another fidelity than the
runs', part of the weight is set aside for the one-term law: cross-validation within one fidelity
cannot see the error of changing it, and detail that only a flexible member finds is the detail
most likely to be the proxy's own. In studies of QuaDMix, whose coordinates are no shares of what
is trained on, they are least squares and the Gaussian process.

Source:
    Our own [I]. No held-out table takes part in a choice.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.options import option
from mixwright.surrogates.base import (
    Prediction,
    Progress,
    canonical_order,
    silent,
)
from mixwright.surrogates.blending import error_weights
from mixwright.surrogates.cross_validation import assign_folds
from mixwright.surrogates.ensemble import DEFAULT_MEMBERS, MEMBERS, FittedEnsemble, Trial


@dataclass(frozen=True, slots=True)
class Auto:
    """Options of the automatic choice."""

    stiff_share: float = option(
        0.5,
        "Weight set aside for the one-term law; unless given, 0 where the runs are of the "
        "target fidelity.",
        minimum=0.0,
        maximum=1.0,
    )
    members: tuple[str, ...] = option(
        DEFAULT_MEMBERS,
        "The surrogates to choose from, the stiffest first; unless given, linear and gp in studies "
        "of QuaDMix.",
        choices=tuple(MEMBERS),
    )

    def min_runs(self, num_domains: int) -> int:
        """Return what the least demanding member needs."""
        return min(self._needs(num_domains).values())

    def _needs(self, num_domains: int) -> dict[str, int]:
        return {name: MEMBERS[name].recipe.min_runs(num_domains) for name in self.members}

    def fit(self, mixtures: FloatArray, values: FloatArray, seed: int) -> FittedEnsemble:
        """Choose inside these runs."""
        order = canonical_order(mixtures, values)
        mixtures, values = mixtures[order], values[order]
        return self.cross_fit(mixtures, values, assign_folds(values, seed), seed)[0]

    def cross_fit(
        self,
        mixtures: FloatArray,
        values: FloatArray,
        folds: IntArray,
        seed: int,
        progress: Progress = silent,
    ) -> tuple[FittedEnsemble, Prediction]:
        """Choose; a run is predicted with weights from the errors of the other folds."""
        fewest, needs = int(np.isfinite(values).sum(axis=0).min()), self._needs(mixtures.shape[1])
        possible = [name for name in self.members if needs[name] <= fewest]
        names = tuple(possible) or (min(self.members, key=needs.__getitem__),)
        trial = Trial.of(names, mixtures, values, folds, seed, progress)
        weigh = partial(_stiffened, stiff_share=self.stiff_share)
        return trial.fitted(weigh, self.stiff_share), trial.out_of_fold(weigh)


def _stiffened(squared_errors: FloatArray, stiff_share: float) -> FloatArray:
    """Return weights by error with `stiff_share` set aside for the first member."""
    weights = (1.0 - stiff_share) * error_weights(squared_errors)
    weights[0] += stiff_share
    return weights
