"""How runs at different scales are related: the covariance of fidelities.

Two structures, both positive definite by construction, both with noise of their own per fidelity:

    OneFactor   B_ff = a_f^2,  B_fg = a_f a_g r_f r_g, with r = 1 at the target: scale and
                correlation with the target are learned for each fidelity by itself
    OverScale   B_fg = a_f a_g exp(-rho · |z_f - z_g|), z = log10 of parameters and of tokens:
                scale, noise and decorrelation are laws of z, so that a fidelity without a run is
                predicted, and points of loss curves are fidelities like others

`OneFactor` is a rank-one matrix plus a diagonal that is not negative; `OverScale` a product of
Ornstein-Uhlenbeck kernels, scaled. Both [I].
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import least_squares
from scipy.special import expit, logit

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.kernel import Hyperparameters

MEAN_VARIANCE = 25.0  # of a fidelity's mean, in squared units of the spread of its outcomes
_SCALE, _NOISE = (0.0, 0.7, -4.0, 3.0), (np.log(0.05), 1.5, -13.0, 2.0)
_SCALE_APART, _NOISE_APART = (0.0, 0.35, -2.0, 2.0), (0.0, 0.7, -4.0, 4.0)
_DOUBT = 1e-4  # weight of the prior where decorrelations leave rates open


@dataclass(frozen=True, slots=True)
class Ranges:
    """Of what is searched: medians and spreads of normal priors, and bounds; each `(p,)`."""

    median: FloatArray
    spread: FloatArray
    low: FloatArray
    high: FloatArray


class Structure(Protocol):
    """How `B` and the noises follow from the vector `theta` that is searched."""

    @property
    def target(self) -> int:
        """Index of the target fidelity."""
        ...

    @property
    def ranges(self) -> Ranges:
        """Priors and bounds of `theta`."""
        ...

    @property
    def means(self) -> FloatArray:
        """Prior covariance `(F, F)` of the fidelities' means, in standardised units."""
        ...

    def unpack(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return `B` `(F, F)` and noises `(F,)`."""
        ...

    def pack(self, hyperparameters: Hyperparameters) -> FloatArray:
        """Return the `theta` that gives about these, for a warm start."""
        ...

    def chain(self, theta: FloatArray, by_signal: FloatArray, by_noise: FloatArray) -> FloatArray:
        """Return a gradient by `theta` from twice the ones by log B and by log noise.

        Args:
            theta: where.
            by_signal: `B * (2 d cost / d B)`, shape `(F, F)`.
            by_noise: `noise * (2 d cost / d noise)`, shape `(F,)`.
        """
        ...

    def locate(self, medians: FloatArray, seen: IntArray) -> FloatArray:
        """Return locations `(F,)` of all fidelities from those `seen`."""
        ...


@dataclass(frozen=True, slots=True)
class OneFactor:
    """Every fidelity by itself, with scales and noises that are drawn towards common ones.

    Target runs are few, and those that are chosen well are near the best and alike: by themselves
    they would say that nothing matters much at the target.

    Attributes:
        count: F.
        target: index of the target.
    """

    count: int
    target: int

    @property
    def ranges(self) -> Ranges:
        """Scales near 1, correlations likely between .3 and .97, noises a twentieth."""
        rows = [_SCALE, *[_SCALE_APART] * self.count]
        rows += [(1.0, 1.5, -4.0, 7.0)] * (self.count - 1)  # logit of the correlation
        rows += [_NOISE, *[_NOISE_APART] * self.count]
        return Ranges(*np.array(rows, dtype=float).T)

    @property
    def means(self) -> FloatArray:
        """Vague, and independent."""
        return MEAN_VARIANCE * np.eye(self.count)

    def unpack(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return `B` `(F, F)` and noises `(F,)`."""
        scales, factor = self._parts(theta)
        signal = np.outer(scales * factor, scales * factor)
        np.fill_diagonal(signal, scales**2)
        noises = theta[2 * self.count :]
        return signal, np.exp(noises[0] + noises[1:])

    def pack(self, hyperparameters: Hyperparameters) -> FloatArray:
        """Return the `theta` that gives these."""
        signal = hyperparameters.signal
        scales = np.sqrt(np.diag(signal))
        factor = signal[:, self.target] / (scales * scales[self.target])
        inside = np.clip(factor[self._lower], 1e-4, 1 - 1e-4)
        noises = np.log(hyperparameters.noises)
        return np.concatenate([_apart(np.log(scales)), logit(inside), _apart(noises)])

    def chain(self, theta: FloatArray, by_signal: FloatArray, by_noise: FloatArray) -> FloatArray:
        """Return the gradient by log scales, logit correlations and log noises."""
        _, factor = self._parts(theta)
        by_scale, half = by_signal.sum(1), 0.5 * by_noise
        outside = by_scale - np.diag(by_signal)
        by_factor = (outside * (1.0 - factor))[self._lower]  # d log r / d logit r = 1 - r
        return np.concatenate([[by_scale.sum()], by_scale, by_factor, [half.sum()], half])

    def locate(self, medians: FloatArray, seen: IntArray) -> FloatArray:
        """Return the mean of those seen for the others: nothing else is known."""
        located = np.full(self.count, medians[seen].mean())
        located[seen] = medians[seen]
        return located

    @property
    def _lower(self) -> IntArray:
        return np.delete(np.arange(self.count), self.target)

    def _parts(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        factor = np.ones(self.count)
        factor[self._lower] = expit(theta[self.count + 1 : 2 * self.count])
        return np.exp(theta[0] + theta[1 : self.count + 1]), factor


def _apart(logs: FloatArray) -> FloatArray:
    """Return what logarithms have in common, and what each has besides."""
    common = logs.mean()
    return np.concatenate([[common], logs - common])


@dataclass(frozen=True, slots=True)
class OverScale:
    """Laws of parameters and tokens.

    Attributes:
        decades: shape `(F, 2)`, log10 of parameters and of tokens against the target's.
        target: index of the target.
    """

    decades: FloatArray
    target: int

    @property
    def ranges(self) -> Ranges:
        """Within a decade: scale by about a third, correlation to about .86, noise by half."""
        rows = [_SCALE]  # log scale at the target
        rows += [(0.0, 0.3, -1.5, 1.5)] * 2  # its slopes
        rows += [(np.log(0.15), 1.0, -7.0, 2.5)] * 2  # log decorrelation per decade
        rows += [_NOISE, *[(0.0, 0.5, -2.0, 2.0)] * 2]  # log noise at the target, its slopes
        return Ranges(*np.array(rows, dtype=float).T)

    @property
    def means(self) -> FloatArray:
        """Vague at one scale; the less so between scales the nearer they are."""
        apart = np.abs(self.decades[:, None] - self.decades[None]).sum(axis=-1)
        return np.asarray(MEAN_VARIANCE * np.exp(-apart / 4.0))

    def unpack(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return `B` `(F, F)` and noises `(F,)`."""
        scales = np.exp(theta[0] + self.decades @ theta[1:3])
        noises = np.exp(theta[5] + self.decades @ theta[6:8])
        signal = np.outer(scales, scales) * np.exp(-self._apart @ np.exp(theta[3:5]))
        return signal, noises

    def pack(self, hyperparameters: Hyperparameters) -> FloatArray:
        """Return the laws that come nearest, and of several the likeliest beforehand."""
        signal, median = hyperparameters.signal, self.ranges.median
        scales = np.sqrt(np.diag(signal))
        line = np.column_stack([np.ones(len(scales)), self.decades])
        theta = median.copy()
        theta[:3] += np.linalg.lstsq(line, np.log(scales) - line @ median[:3], rcond=None)[0]
        noises = np.log(hyperparameters.noises)
        theta[5:] += np.linalg.lstsq(line, noises - line @ median[5:], rcond=None)[0]
        rows = np.triu_indices(len(scales), 1)
        apart = self._apart[rows]
        fallen = -np.log(np.clip(signal[rows] / np.outer(scales, scales)[rows], 1e-12, 1.0))

        def missed(rates: FloatArray) -> FloatArray:
            doubt = _DOUBT * (rates - median[3:5]) / self.ranges.spread[3:5]
            return np.concatenate([apart @ np.exp(rates) - fallen, doubt])

        bounds = (self.ranges.low[3:5], self.ranges.high[3:5])
        theta[3:5] = least_squares(missed, median[3:5], bounds=bounds).x
        return theta

    def chain(self, theta: FloatArray, by_signal: FloatArray, by_noise: FloatArray) -> FloatArray:
        """Return the gradient, in the order of `ranges`."""
        by_scale, half = by_signal.sum(1), 0.5 * by_noise
        by_rate = -0.5 * np.exp(theta[3:5]) * np.einsum("fg,fgj->j", by_signal, self._apart)
        return np.concatenate(
            [
                [by_scale.sum()],
                by_scale @ self.decades,
                by_rate,
                [half.sum()],
                half @ self.decades,
            ]
        )

    def locate(self, medians: FloatArray, seen: IntArray) -> FloatArray:
        """Return a plane through those seen, as flat as they allow, for the others."""
        located = medians.copy()
        middle = medians[seen].mean()
        away = self.decades - self.decades[seen].mean(axis=0)
        slope = np.linalg.lstsq(away[seen], medians[seen] - middle, rcond=None)[0]
        unseen = np.delete(np.arange(len(medians)), seen)
        located[unseen] = middle + away[unseen] @ slope
        return located

    @property
    def _apart(self) -> FloatArray:
        return np.asarray(np.abs(self.decades[:, None] - self.decades[None]))
