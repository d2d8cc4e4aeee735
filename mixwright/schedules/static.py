"""One mixture from the first token to the last; the learning rate as one chooses.

Source:
    WSD: Hu et al., "MiniCPM", arXiv:2404.06395 [R].
    UniMax: Chung et al., "UniMax: Fairer and more Effective Language Sampling for Large-Scale
    Multilingual Pretraining", arXiv:2304.09151, algorithm 1 [R].

Departures [I]:
    * UniMax shares out tokens of domains; the paper, characters of languages.
    * Where every domain is at its cap, the budget is refused; the paper normalises what there is,
      which repeats every domain more often than the cap allows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mixwright.errors import InfeasibleError, InvalidInputError
from mixwright.options import option
from mixwright.repetition import unimax
from mixwright.schedules.base import Schedule
from mixwright.schedules.curves import Curve, wsd
from mixwright.schedules.planning import Problem, stage_of, within_caps

_ROUNDING = 1e-9  # relative


@dataclass(frozen=True, slots=True)
class Static:
    """Options of the fixed mixture."""

    shares: str = option(
        "given",
        "The mixture: the one to begin with, or UniMax's, as even as the cap on epochs allows.",
        choices=("given", "unimax"),
    )
    max_epochs: float = option(
        0.0, "Of UniMax, how often a domain may be seen; 0 for the study's cap.", minimum=0.0
    )
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
            InvalidInputError: warm-up and decay are more than all tokens; UniMax without a cap, or
                with a domain whose tokens are not known.
            InfeasibleError: the mixture breaks a cap, or every domain is at UniMax's.
        """
        weights, curves = self._weights(problem), self._curves(problem)
        stages = tuple(
            stage_of(
                problem,
                _name(curve, len(curves)),
                curve.start_token,
                curve.end_token,
                weights,
                curve,
            )
            for curve in curves
        )
        return within_caps(problem, Schedule(problem.budget, stages))

    def _weights(self, problem: Problem) -> Mapping[str, float]:
        if self.shares == "given":
            if self.max_epochs:
                raise InvalidInputError(
                    "max_epochs is UniMax's; set shares to unimax, or give the cap to the study",
                    "options/max_epochs",
                )
            return problem.weights
        return self._unimax(problem)

    def _unimax(self, problem: Problem) -> dict[str, float]:
        cap, names = self.max_epochs or problem.max_epochs, tuple(problem.weights)
        if cap is None:
            raise InvalidInputError(
                "UniMax needs a cap on epochs, and the study has none; give the option max_epochs",
                "options/max_epochs",
            )
        sizes = [problem.unique_tokens.get(name) for name in names]
        if unknown := [name for name, size in zip(names, sizes, strict=True) if size is None]:
            raise InvalidInputError(
                f"UniMax needs the tokens of every domain; the study does not say those of "
                f"{', '.join(unknown)}",
                "options/shares",
            )
        allocation = unimax(np.array(sizes, dtype=np.float64), problem.budget.tokens, cap)
        _require_spent(problem.budget.tokens, float(allocation.sum()), cap)
        return dict(zip(names, (allocation / allocation.sum()).tolist(), strict=True))

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


def _require_spent(tokens: float, found: float, cap: float) -> None:
    """Check that UniMax has tokens enough; what is missing may be a rounding."""
    if found < tokens * (1 - _ROUNDING):
        raise InfeasibleError(
            f"every domain is at its cap of {cap:g} epochs: that is {found:.10g} tokens, and the "
            f"budget's {tokens:.10g} are {tokens - found:.4g} more; train on at most {found:.10g}, "
            "or allow more epochs",
            found,
        )
