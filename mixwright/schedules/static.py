"""One mixture from the first token to the last; the learning rate as one chooses.

Source:
    WSD: Hu et al., "MiniCPM", arXiv:2404.06395 [R].
"""

from dataclasses import dataclass

from mixwright.options import option
from mixwright.schedules.base import Schedule
from mixwright.schedules.curves import Curve, wsd
from mixwright.schedules.planning import Problem, stage_of, within_caps


@dataclass(frozen=True, slots=True)
class Static:
    """Options of the fixed mixture."""

    rate: str = option(
        "constant",
        "Learning rate: the peak throughout, or warm-up, stable part and decay.",
        choices=("constant", "wsd", "cosine", "linear"),
    )
    warmup: float = option(0.01, "Share of the tokens to warm up.", minimum=0.0, maximum=0.5)
    decay: float = option(0.2, "Share of the tokens to decay, of wsd.", minimum=0.0, maximum=1.0)
    decay_shape: str = option(
        "linear",
        "How wsd decays.",
        choices=("linear", "cosine", "one_minus_sqrt", "geometric"),
    )
    final_rate: float = option(0.1, "Last rate, a share of the peak.", minimum=0.0, maximum=1.0)

    def plan(self, problem: Problem) -> Schedule:
        """Return a stage of the mixture for every part of the learning rate.

        Raises:
            InvalidInputError: warm-up and decay are more than all tokens.
            InfeasibleError: the mixture breaks a cap.
        """
        curves = self._curves(problem)
        stages = tuple(
            stage_of(
                problem,
                _name(curve, len(curves)),
                curve.start_token,
                curve.end_token,
                problem.weights,
                curve,
            )
            for curve in curves
        )
        return within_caps(problem, Schedule(problem.budget, stages))

    def _curves(self, problem: Problem) -> tuple[Curve, ...]:
        budget = problem.budget
        peak, total = budget.peak_learning_rate, budget.tokens
        if self.rate == "constant":
            return (Curve.constant(peak, total),)
        last = self.final_rate * peak
        if self.rate == "wsd":
            return wsd(total, peak, last, self.warmup, self.decay, self.decay_shape)
        return wsd(total, peak, last, self.warmup, 1 - self.warmup, self.rate)


def _name(curve: Curve, parts: int) -> str:
    if parts == 1:
        return "all"
    return {"warmup": "warm-up", "constant": "stable"}.get(curve.shape, "decay")
