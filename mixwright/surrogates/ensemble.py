"""A blend of surrogates, each metric weighted by the members' cross-validated errors.

The weight of a member is its out-of-fold mean squared error to the power -2, normalised. Where a
mixture leaves the range of shares that the runs cover, members that cannot extrapolate fade out.

Source:
    Weights by inverse squared errors: Bates and Granger, "The combination of forecasts", OR 20(4),
    1969 [S], with the power 1. The power 2, the members and the fading are ours [I]; the power was
    chosen on random subsets of 16 to 400 of RegMix's 512 runs of 1M parameters, judged on the
    rest of those 512.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.options import option
from mixwright.surrogates.base import (
    Candidate,
    Choice,
    Differentiable,
    FittedSurrogate,
    Prediction,
    Progress,
    State,
    Surrogate,
    canonical_order,
    part_of,
    silent,
)
from mixwright.surrogates.blending import Coverage, blend, error_weights, faded_weights
from mixwright.surrogates.cross_validation import assign_folds, cross_fit
from mixwright.surrogates.gp import FittedGaussianProcess, GaussianProcess
from mixwright.surrogates.lightgbm import FittedLightGBM, LightGBM
from mixwright.surrogates.linear import FittedLinear, Linear
from mixwright.surrogates.log_linear import FittedLogLinear, LogLinear
from mixwright.surrogates.share_power import FittedSharePower, SharePower


@dataclass(frozen=True, slots=True)
class Member:
    """A surrogate that may be blended.

    Attributes:
        recipe: what is fitted.
        fitted: what that gives.
        fading: how fast its weight falls with the reach of a mixture beyond the runs.
    """

    recipe: Surrogate
    fitted: type[FittedSurrogate]
    fading: float


MEMBERS: Final[Mapping[str, Member]] = {
    "linear": Member(Linear(), FittedLinear, 0.0),
    "log_linear": Member(LogLinear(), FittedLogLinear, 0.0),
    "share_power": Member(SharePower(), FittedSharePower, 0.0),
    "share_power_2": Member(SharePower(terms=2, starts=3), FittedSharePower, 0.0),
    "share_power_4": Member(SharePower(terms=4, starts=3), FittedSharePower, 0.0),
    "gp": Member(GaussianProcess(), FittedGaussianProcess, 1.0),
    "lightgbm": Member(LightGBM(), FittedLightGBM, 1.0),
}
DEFAULT_MEMBERS: Final = ("share_power", "share_power_2", "share_power_4", "gp")


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Options of the blend."""

    members: tuple[str, ...] = option(
        DEFAULT_MEMBERS, "The surrogates that are blended.", choices=tuple(MEMBERS)
    )

    def min_runs(self, num_domains: int) -> int:
        """Return what the most demanding member needs."""
        return max(MEMBERS[name].recipe.min_runs(num_domains) for name in self.members)

    def fit(self, mixtures: FloatArray, values: FloatArray, seed: int) -> "FittedEnsemble":
        """Cross-validate the members inside these runs, weight them and fit them on all."""
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
    ) -> tuple["FittedEnsemble", Prediction]:
        """Blend; a run is predicted with weights from the errors of the other folds."""
        trial = Trial.of(self.members, mixtures, values, folds, seed, progress)
        return trial.fitted(error_weights), trial.out_of_fold(error_weights)


@dataclass(frozen=True, slots=True)
class Trial:
    """Members fitted on all runs, with what they predict out of fold.

    Attributes:
        names: of the s members, keys of `MEMBERS`.
        members: fitted on all runs.
        mixtures: shape `(n, k)`.
        values: shape `(n, m)`.
        folds: shape `(n,)`.
        means: out of fold, shape `(s, n, m)`.
        stds: out of fold, shape `(s, n, m)`.
    """

    names: tuple[str, ...]
    members: tuple[FittedSurrogate, ...]
    mixtures: FloatArray
    values: FloatArray
    folds: IntArray
    means: FloatArray
    stds: FloatArray

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        mixtures: FloatArray,
        values: FloatArray,
        folds: IntArray,
        seed: int,
        progress: Progress = silent,
    ) -> Self:
        """Cross-validate the members on the same folds."""
        results = [
            cross_fit(
                MEMBERS[name].recipe,
                mixtures,
                values,
                folds,
                seed,
                part_of(progress, index, len(names)),
            )
            for index, name in enumerate(names)
        ]
        members, held_out = zip(*results, strict=True)
        means = np.stack([prediction.mean for prediction in held_out])
        stds = np.stack([prediction.std for prediction in held_out])
        return cls(names, members, mixtures, values, folds, means, stds)

    def fitted(
        self, weigh: Callable[[FloatArray], FloatArray], stiff_share: float = 0.0
    ) -> "FittedEnsemble":
        """Return the blend whose weights `weigh` gives from squared errors `(s, n, m)`."""
        squared = (self.means - self.values) ** 2
        errors = np.sqrt(np.nanmean(squared, axis=1)) / np.nanstd(self.values, axis=0)
        return FittedEnsemble(
            names=self.names,
            members=self.members,
            weights=weigh(squared),
            cv_errors=errors.mean(axis=1),
            coverage=Coverage.of(self.mixtures),
            stiff_share=stiff_share,
        )

    def out_of_fold(self, weigh: Callable[[FloatArray], FloatArray]) -> Prediction:
        """Return the blend's predictions of every run, weighted and faded without its fold."""
        squared, fading = (self.means - self.values) ** 2, fading_of(self.names)
        mean, std = np.empty(self.values.shape), np.empty(self.values.shape)
        for fold in np.unique(self.folds):
            held = self.folds == fold
            reach, _ = Coverage.of(self.mixtures[~held]).reach(self.mixtures[held])
            weights = faded_weights(weigh(squared[:, ~held]), fading, reach)
            prediction = blend(self.means[:, held], self.stds[:, held], weights)
            mean[held], std[held] = prediction.mean, prediction.std
        return Prediction(mean, std)


@dataclass(frozen=True, slots=True)
class FittedEnsemble:
    """Members and their weights.

    Attributes:
        names: of the s members, keys of `MEMBERS`.
        members: fitted on all runs.
        weights: shape `(s, m)`, each column sums to 1.
        cv_errors: shape `(s,)`, as in `Candidate`.
        coverage: the shares that the runs cover.
        stiff_share: part of the weight that the first member was given before any error was seen.
    """

    names: tuple[str, ...]
    members: tuple[FittedSurrogate, ...]
    weights: FloatArray
    cv_errors: FloatArray
    coverage: Coverage
    stiff_share: float

    @property
    def is_differentiable(self) -> bool:
        """Whether every member is."""
        return all(member.is_differentiable for member in self.members)

    @property
    def is_convex(self) -> bool:
        """Whether every member is and none fades."""
        return all(member.is_convex for member in self.members) and not fading_of(self.names).any()

    def predict(self, mixtures: FloatArray) -> Prediction:
        """Return means and standard deviations of the mixture of the members' distributions."""
        predictions = [member.predict(mixtures) for member in self.members]
        means = np.stack([prediction.mean for prediction in predictions])
        stds = np.stack([prediction.std for prediction in predictions])
        return blend(means, stds, self._weights_at(mixtures))

    def predict_mean(self, mixtures: FloatArray) -> FloatArray:
        """Return means, shape `(q, m)`."""
        means = np.stack([member.predict_mean(mixtures) for member in self.members])
        mean: FloatArray = np.sum(means * self._weights_at(mixtures), axis=0)
        return mean

    def gradient(self, mixtures: FloatArray) -> FloatArray:
        """Return d mean / d weights, shape `(q, m, k)`, the change of the blend included."""
        smooth = [member for member in self.members if isinstance(member, Differentiable)]
        gradients = np.stack([member.gradient(mixtures) for member in smooth])
        means = np.stack([member.predict_mean(mixtures) for member in self.members])
        weights, fading = self._weights_at(mixtures), fading_of(self.names)[:, None, None]
        relative = np.sum(weights * fading, axis=0) - fading  # d log weight / d reach
        by_reach = np.sum(weights * relative * means, axis=0)  # (q, m)
        _, slope = self.coverage.reach(mixtures)
        gradient: FloatArray = np.einsum("sqm,sqmk->qmk", weights, gradients)
        gradient += by_reach[:, :, None] * slope[:, None, :]
        return gradient

    def to_state(self) -> State:
        """Return the blend's arrays, and every member's under its place and name."""
        state = {
            "weights": self.weights,
            "cv_errors": self.cv_errors,
            "low": self.coverage.low,
            "high": self.coverage.high,
            "stiff_share": np.array(self.stiff_share),
        }
        for place, (name, member) in enumerate(zip(self.names, self.members, strict=True)):
            for key, array in member.to_state().items():
                state[f"{place}/{name}/{key}"] = array
        return state

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from `to_state`."""
        parts: dict[tuple[int, str], dict[str, FloatArray]] = {}
        for path, array in state.items():
            place, _, rest = path.partition("/")
            if rest:
                name, _, key = rest.partition("/")
                parts.setdefault((int(place), name), {})[key] = array
        ordered = sorted(parts.items(), key=lambda item: item[0])
        return cls(
            names=tuple(name for (_, name), _ in ordered),
            members=tuple(MEMBERS[name].fitted.from_state(part) for (_, name), part in ordered),
            weights=state["weights"],
            cv_errors=state["cv_errors"],
            coverage=Coverage(state["low"], state["high"]),
            stiff_share=float(state["stiff_share"]),
        )

    def choice(self) -> Choice:
        """Return the members' errors, their average weights and where these come from."""
        pairs = zip(self.names, self.cv_errors, strict=True)
        candidates = tuple(Candidate(name, float(error)) for name, error in pairs)
        if len(self.names) == 1:
            return Choice(self.names[0], "every other surrogate needs more runs", candidates)
        shares = zip(self.names, self.weights.mean(axis=1), strict=True)
        listed = ", ".join(f"{name} {weight:.2f}" for name, weight in shares)
        reason = f"blended by cross-validated error; average weights: {listed}"
        if self.stiff_share > 0:
            reason += (
                f"; {self.names[0]}, the stiffest, was given {self.stiff_share:.2f} beforehand, "
                "because cross-validation at one fidelity cannot see what another changes"
            )
        return Choice("ensemble", reason, candidates)

    def _weights_at(self, mixtures: FloatArray) -> FloatArray:
        return faded_weights(self.weights, fading_of(self.names), self.coverage.reach(mixtures)[0])


def fading_of(names: tuple[str, ...]) -> FloatArray:
    """Return how fast each member fades, shape `(s,)`."""
    return np.array([MEMBERS[name].fading for name in names])
