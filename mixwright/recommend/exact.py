"""Minimise the predicted objective itself, near the prior if asked.

    minimise  objective(w) + kl_to_prior * KL(w || prior)  over the constraints

Source:
    The exact proposer of olmix (github.com/allenai/olmix) [X], which does this for its
    log-linear law. Its strength of the penalty defaults to 0.05, and prior shares are at least
    1e-12, as here.

Departures:
    * Any differentiable surrogate will do. Where the objective is convex one start finds the
      global minimum, and the gap to it is certified; elsewhere the best of several starts wins.
    * SciPy's SLSQP (`mixwright.minimum`) instead of the conic solver ECOS. Below weights of 1e-9
      the penalty continues along its tangent, as its slope would be infinite at 0.
    * Shadow prices come with the answer: what each active constraint costs.
"""

from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import FitDidNotConvergeError, InvalidInputError
from mixwright.interior import find_centre
from mixwright.minimum import Minimum, minimise
from mixwright.projection import project
from mixwright.recommend.base import Choice, Model, Problem, by_name, other_method
from mixwright.recommend.best_observed import find_best_run
from mixwright.sampling import sample_dirichlet, sample_polytope
from mixwright.simplex import kl_divergence

_SMALLEST_PRIOR = 1e-12
_SMALLEST_WEIGHT = 1e-9  # the penalty's slope is infinite at 0: below, its tangent stands in
_INWARD = 0.01  # how far starts are moved off the boundary, where the penalty is steep
_NUM_SCREENED, _NUM_STARTS = 2000, 8
_GAP_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class PenalisedObjective:
    """The predicted objective plus the penalty on leaving the prior; see `minimum.Smooth`.

    Attributes:
        model: predicts the objective.
        prior: shape `(k,)`, above 0.
        strength: of the penalty, in objective per nat.
    """

    model: Model
    prior: FloatArray
    strength: float

    def value(self, mixture: FloatArray) -> float:
        """Return the objective with its penalty."""
        used = np.maximum(mixture, _SMALLEST_WEIGHT)
        slope = np.log(_SMALLEST_WEIGHT / self.prior) + 1.0
        penalty = float(kl_divergence(used, self.prior) + (mixture - used) @ slope)
        return float(self.model.objective_mean(mixture[None])[0]) + self.strength * penalty

    def gradient(self, mixture: FloatArray) -> FloatArray:
        """Return the gradient `(k,)`."""
        slope = np.log(np.maximum(mixture, _SMALLEST_WEIGHT) / self.prior) + 1.0
        gradient: FloatArray = self.model.objective_gradient(mixture[None])[0]
        return gradient + self.strength * slope


def recommend_exact(problem: Problem) -> Choice:
    """Return the mixture at which the penalised objective is smallest.

    Raises:
        InvalidInputError: the surrogate has no gradient, or the space is not a simplex.
        FitDidNotConvergeError: the objective is convex and its minimum was not reached.
    """
    model, space = problem.model, problem.study.space
    if not space.is_simplex:
        raise InvalidInputError(
            f"method exact needs a simplex, and points of the space {space.kind} are more than "
            f"that; use method {other_method(space)}",
            field="method",
        )
    if not model.is_differentiable:
        raise InvalidInputError(
            f"method exact needs a gradient and surrogate {model.kind} has none; use method "
            "regmix, or a smooth surrogate such as log_linear or share_power",
            field="method",
        )
    prior = np.maximum(problem.study.prior, _SMALLEST_PRIOR)
    function = PenalisedObjective(model, prior / prior.sum(), problem.kl_to_prior)
    starts, found = _starts(problem), []
    for i, start in enumerate(starts):
        found.append(minimise(problem.polytope, function, start))
        problem.progress((i + 1) / len(starts))
    best = min(found, key=lambda minimum: minimum.value)
    return Choice(best.mixture, _judge(problem, found, best), best.shadow_prices)


def _starts(problem: Problem) -> list[FloatArray]:
    """Return the projected prior and, unless the objective is convex, other promising mixtures."""
    polytope, study = problem.polytope, problem.study
    places = [study.prior]
    if not problem.model.is_convex:
        k = polytope.num_domains
        places.append(np.full(k, 1.0 / k))
        observed = find_best_run(study, polytope, problem.runs)
        places += [] if observed is None else [observed.weights]
        places += list(_screen(problem))
    centre = find_centre(polytope)
    return [(1 - _INWARD) * project(polytope, place) + _INWARD * centre for place in places]


def _screen(problem: Problem) -> FloatArray:
    """Return the most promising of random mixtures, half of them uniform, half near the prior."""
    order, back = by_name(problem.study)
    polytope, rng = problem.polytope.reorder(order), np.random.default_rng(problem.seed)
    spread = sample_polytope(polytope, _NUM_SCREENED // 2, rng)
    prior = problem.study.prior[order]
    around = sample_dirichlet(polytope, prior, _NUM_SCREENED // 2, rng)
    drawn = np.vstack([spread, around])[:, back]
    scores = problem.model.objective_mean(drawn)
    return drawn[np.argsort(scores, kind="stable")[:_NUM_STARTS]]


def _judge(problem: Problem, found: list[Minimum], best: Minimum) -> tuple[str, ...]:
    """Return what to say about how the minimum was found."""
    far = best.gap > _GAP_TOLERANCE * max(1.0, abs(best.value))
    if problem.model.is_convex:
        if far:
            raise FitDidNotConvergeError(
                f"method exact stopped up to {best.gap:.2g} above the minimum; use method regmix"
            )
        return ()
    same = sum(minimum.value - best.value <= 1e-6 * max(1.0, abs(best.value)) for minimum in found)
    message = (
        f"the surrogate {problem.model.kind} may have several optima: {same} of {len(found)} "
        "starts of the optimiser led to this one, the best of them"
    )
    return (message, f"its slope still promises {best.gap:.2g}") if far else (message,)
