"""Which batch sizes, and where to put the good data, by a quality-aware functional scaling law.

    L = T^-s + ∫ (1 + T - t)^-(2 - 1/β) · η σ² / B dt,    dt = η dD / B

T is the intrinsic time, the whole of t. The first term is what has not been learned; the integral
is the noise of all data, forgotten as training goes on. Batches and σ are constant over pieces, and
the integral over a piece is exact.

Source:
    Zhu et al., "How Should LLMs Consume High-Quality Data? Optimal Data Scheduling via
    Quality-Aware Functional Scaling Laws", arXiv:2605.25698 [X abstract: two regimes, and that good
    data is a signal amplifier in the one and a noise suppressor in the other]; the functional
    scaling law without quality [S]. Their closed form was not found: this law is ours [I], and it
    is minimised numerically. `discrete_loss` is its sum over steps, which it is the limit of.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from mixwright.arrays import FloatArray

_ROUNDS = 20  # of placement after batch sizes; it settles within a few


@dataclass(frozen=True, slots=True)
class Law:
    """The law's constants. Tokens and batches are in one unit, that of the constant batch.

    Attributes:
        rate: η, intrinsic time of a token at batch 1.
        source: s, how fast the signal is learned.
        capacity: β, above 1: how fast noise is forgotten.
    """

    rate: float = 0.5
    source: float = 0.3
    capacity: float = 2.0

    @property
    def power(self) -> float:
        """2 - 1/β, above 1."""
        return 2.0 - 1.0 / self.capacity

    def loss(self, batch: FloatArray, noise: FloatArray, tokens: FloatArray) -> float:
        """Return L.

        Args:
            batch: shape `(k,)`, of each piece in order.
            noise: shape `(k,)`, σ of each piece.
            tokens: shape `(k,)`, of each piece.
        """
        signal, kept = self.parts(batch, tokens)
        return float(signal + kept @ noise**2)

    def parts(self, batch: FloatArray, tokens: FloatArray) -> tuple[float, FloatArray]:
        """Return the first term, and what each piece's noise costs where σ is 1, `(k,)`."""
        times = self.rate * tokens / batch
        left = times.sum() - np.cumsum(times)
        exponent = 1 - self.power
        forgotten = ((1 + left) ** exponent - (1 + left + times) ** exponent) / -exponent
        return float(times.sum() ** -self.source), self.rate / batch * forgotten

    def slope(self, batch: FloatArray, noise: FloatArray, tokens: FloatArray) -> FloatArray:
        """Return dL / d log B, `(k,)`."""
        times = self.rate * tokens / batch
        left = times.sum() - np.cumsum(times)
        strength = self.rate / batch * noise**2
        late, early = (1 + left) ** -self.power, (1 + left + times) ** -self.power
        shifts = strength * (late - early)
        before = np.concatenate([[0.0], np.cumsum(shifts)[:-1]])
        signal = self.source * times.sum() ** (-self.source - 1)
        _, kept = self.parts(batch, tokens)
        slope: FloatArray = times * (signal - strength * early + before) - kept * noise**2
        return slope


def discrete_loss(law: Law, batch: FloatArray, noise: FloatArray, tokens: FloatArray) -> float:
    """Return the law as a sum over steps, each with its noise at its end [I].

    Args:
        law: its constants.
        batch: shape `(k,)`, of each step.
        noise: shape `(k,)`, σ.
        tokens: shape `(k,)`.
    """
    times = law.rate * tokens / batch
    left = times.sum() - np.cumsum(times)
    kept = (1 + left) ** -law.power * law.rate / batch * times
    return float(times.sum() ** -law.source + kept @ noise**2)


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best batches and placement that were found.

    Attributes:
        batch: shape `(k,)`.
        good: shape `(k,)`, share of good data in each piece.
        loss: of the law.
    """

    batch: FloatArray
    good: FloatArray
    loss: float


def three_phases(
    pieces: int, transition: float, drop: float, stable: float, end: float
) -> FloatArray:
    """Return Drop-Stable-Rampup's batch over pieces of equal tokens, against the batch before it.

    1 before the transition, `drop` for `stable` of what is left, then a geometric ramp to `end`
    [I]; a piece has the batch of its middle.

    Args:
        pieces: number of pieces.
        transition: share of the tokens at which the good data begins.
        drop: first batch after it.
        stable: share of the rest for which it stays.
        end: last batch.
    """
    middle = (np.arange(pieces) + 0.5) / pieces
    after = (middle - transition) / (1 - transition)
    return np.where(after < 0, 1.0, phase_batch(after, drop, stable, end))


def phase_batch(after: FloatArray | float, drop: float, stable: float, end: float) -> FloatArray:
    """Return the batch at shares `after` of what follows the transition; see `three_phases`."""
    ramp = np.clip((np.asarray(after) - stable) / (1 - stable), 0.0, 1.0)
    batch: FloatArray = drop * (end / drop) ** ramp
    return batch


def noise_of(good: FloatArray, base: float, better: float) -> FloatArray:
    """Return σ of pieces with shares `good` `(k,)` of better data: variances mix."""
    sigma: FloatArray = np.sqrt(good * better**2 + (1 - good) * base**2)
    return sigma


def place(law: Law, batch: FloatArray, tokens: FloatArray, share: float) -> FloatArray:
    """Return the best placement `(k,)` of good data at given batches: where noise costs most.

    The loss is linear in the placement, so that filling the dearest pieces first is optimal.
    """
    _, kept = law.parts(batch, tokens)
    good, left = np.zeros(len(batch)), share * tokens.sum()
    for piece in np.argsort(-kept / tokens, kind="stable"):
        good[piece] = min(1.0, left / tokens[piece])
        left = max(0.0, left - tokens[piece])
    return good


def best_schedule(  # noqa: PLR0913  - the law and its problem
    law: Law,
    total: float,
    pieces: int,
    share: float,
    base: float,
    better: float,
    smallest: float,
    largest: float,
    starts: tuple[FloatArray, ...] = (),
) -> Optimum:
    """Return batches and placement of the good data that minimise the law.

    Batches by L-BFGS-B from several starts, then the placement, in turn until both stay.

    Args:
        law: its constants.
        total: tokens, in constant batches.
        pieces: of equal tokens, each with one batch.
        share: of the tokens that is good data.
        base: σ of the other data.
        better: σ of the good data.
        smallest: batch allowed.
        largest: batch allowed.
        starts: batches `(pieces,)` to begin from besides; the result is never worse than any.
    """
    tokens = np.full(pieces, total / pieces)
    begins = [np.full(pieces, one) for one in np.geomspace(smallest, largest, 5)]
    begins += [np.geomspace(smallest, largest, pieces), *starts]
    bounds, sigmas = (np.log(smallest), np.log(largest)), (base, better)
    found = [
        _descend(law, np.clip(batch, smallest, largest), tokens, share, sigmas, bounds)
        for batch in begins
    ]
    return min(found, key=lambda one: one.loss)


def _descend(
    law: Law,
    batch: FloatArray,
    tokens: FloatArray,
    share: float,
    sigmas: tuple[float, float],
    bounds: tuple[float, float],
) -> Optimum:
    good = place(law, batch, tokens, share)
    best = Optimum(batch, good, law.loss(batch, noise_of(good, *sigmas), tokens))
    for _ in range(_ROUNDS):
        noise = noise_of(best.good, *sigmas)
        step = minimize(
            _loss_of_logs,
            np.log(best.batch),
            args=(law, noise, tokens),
            jac=_slope_of_logs,
            method="L-BFGS-B",
            bounds=[bounds] * len(tokens),
        )
        batch = np.exp(step.x)
        good = place(law, batch, tokens, share)
        loss = law.loss(batch, noise_of(good, *sigmas), tokens)
        if loss >= best.loss * (1 - 1e-9):
            return best
        best = Optimum(batch, good, loss)
    return best


def _loss_of_logs(logs: FloatArray, law: Law, noise: FloatArray, tokens: FloatArray) -> float:
    return law.loss(np.exp(logs), noise, tokens)


def _slope_of_logs(logs: FloatArray, law: Law, noise: FloatArray, tokens: FloatArray) -> FloatArray:
    return law.slope(np.exp(logs), noise, tokens)
