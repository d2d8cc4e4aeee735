"""What is said for and against a mixture that a method has chosen."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.constraints import uncapped_domains
from mixwright.hull import inside_hull
from mixwright.recommend.base import Choice, Problem, other_method
from mixwright.recommend.best_observed import find_best_run
from mixwright.recommend.recommendation import Judged, Recommendation, interval
from mixwright.repetition import count_epochs
from mixwright.study import Study

_RANKED_AT_ONCE = 4096  # mixtures predicted at once: bounds memory


def present(problem: Problem, method: str, choice: Choice) -> Recommendation:
    """Return a method's choice with its predictions, baselines, constraints and warnings."""
    study = problem.study
    # An optimiser may leave a weight a rounding error below its bound.
    weights = np.clip(choice.weights, problem.polytope.lower, problem.polytope.upper)
    weights /= weights.sum()
    chosen, baselines = _judge(problem, weights), _baselines(problem)
    metrics = problem.model.predict(weights[None])
    return Recommendation(
        method=method,
        chosen=chosen,
        metrics={name: interval(metrics, 0, j) for j, name in enumerate(study.metric_names)},
        baselines=baselines,
        active_constraints=_active(problem, weights, choice.shadow_prices),
        epochs=_epochs(study, weights),
        ranking=None if choice.ranking is None else _ranking(problem, choice.ranking),
        warnings=(
            *choice.warnings,
            *_warnings(problem, method, chosen),
            *_better_baselines(chosen, baselines, other_method(study.space)),
            *_worse_than_measured(problem, method, chosen),
        ),
    )


def _judge(
    problem: Problem, weights: FloatArray, measured: Mapping[str, str | float] | None = None
) -> Judged:
    return Judged(
        weights,
        interval(problem.model.predict_objective(weights[None]), 0),
        feasible=bool(problem.allows(weights[None])[0]),
        inside_hull=bool(inside_hull(problem.model.mixtures, weights[None])[0]),
        observed=measured or {},
    )


def _baselines(problem: Problem) -> dict[str, Judged | None]:
    """Return what the recommendation is compared with; not all of it need be feasible."""
    study = problem.study
    best = find_best_run(study, problem.polytope, problem.runs)
    known = {name: _judge(problem, one) for name, one in study.space.baselines(study).items()}
    return {
        **known,
        "best_observed": None
        if best is None
        else _judge(
            problem,
            best.weights,
            {"run_id": best.run_id, "observed": best.objective, "fidelity": best.fidelity},
        ),
    }


def _active(
    problem: Problem, weights: FloatArray, shadow_prices: FloatArray | None
) -> tuple[Mapping[str, str | float], ...]:
    active = problem.study.space.active(problem.polytope, weights)
    if shadow_prices is None:
        return tuple(active)
    prices = dict(zip(problem.polytope.names, shadow_prices, strict=True))
    return tuple({**item, "shadow_price": float(prices[str(item["name"])])} for item in active)


def _epochs(study: Study, weights: FloatArray) -> FloatArray:
    """Return epochs `(k,)` at the repetition limit's target, else at the target fidelity's."""
    target = {fidelity.name: fidelity.tokens for fidelity in study.fidelities}[
        study.target_fidelity
    ]
    if study.repetition is not None:
        target = study.repetition.target_tokens
    unique = np.array([domain.tokens or np.nan for domain in study.domains], dtype=np.float64)
    return count_epochs(weights, unique, np.nan if target is None else target)


def _ranking(problem: Problem, order: tuple[int, ...]) -> tuple[Mapping[str, Any], ...]:
    assert problem.pool is not None, "only method pool ranks"  # noqa: S101
    places: list[Mapping[str, Any]] = []
    for start in range(0, len(order), _RANKED_AT_ONCE):
        block = order[start : start + _RANKED_AT_ONCE]
        predicted = problem.model.predict_objective(problem.pool[list(block)])
        places += [{"index": i, "objective": interval(predicted, j)} for j, i in enumerate(block)]
    return tuple(places)


def _better_baselines(
    chosen: Judged, baselines: Mapping[str, Judged | None], other: str
) -> Iterator[str]:
    """Name the baselines that could be used and are predicted to be better."""
    ours = chosen.objective["mean"]
    for name, baseline in baselines.items():
        theirs = baseline.objective["mean"] if baseline and baseline.feasible else None
        if ours is not None and theirs is not None and theirs < ours:
            yield (
                f"the baseline {name} is predicted to be better, by {ours - theirs:.2g}; compare "
                f"with method {other}"
            )


def _worse_than_measured(problem: Problem, method: str, chosen: Judged) -> Iterator[str]:
    """Say so where a run did better than is predicted of what is recommended in its place."""
    best = find_best_run(problem.study, problem.polytope, problem.runs)
    is_comparable = best is not None and (problem.runs.fidelity == best.fidelity).all()
    if method == "best_observed" or best is None or not (is_comparable and best.feasible):
        return
    predicted = chosen.objective["mean"]
    if predicted is not None and predicted > best.objective:
        yield (
            f"the prediction is {predicted:.6g}, and run {best.run_id} measured "
            f"{best.objective:.6g}: it was lucky, or the surrogate is too coarse to find better; "
            "train both before you believe either"
        )


def _warnings(problem: Problem, method: str, chosen: Judged) -> Iterator[str]:
    if not chosen.inside_hull:
        what = "mixture" if problem.study.space.field == "weights" else "point"
        yield f"the {what} lies outside the {what}s that were tried: its prediction extrapolates"
    unknown = uncapped_domains(problem.study)
    if unknown:
        yield f"no repetition cap for domains with unknown tokens: {', '.join(unknown)}"
    if problem.kl_to_prior and method != "exact":
        yield f"kl_to_prior has no effect with method {method}; it is for method exact"
    if problem.pool is not None and method != "pool":
        yield f"the pool has no effect with method {method}; it is for method pool"
