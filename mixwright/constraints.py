"""A study's constraints, compiled once into a polytope whose feasibility is certain.

Repetition: no domain may be seen more than `max_epochs` times, so a domain with `tokens` unique
tokens may have at most the share `max_epochs * tokens / target_tokens`. A domain whose tokens
are unknown has no such cap.

Source:
    The cap is that of olmix (github.com/allenai/olmix), which multiplies the available tokens by
    a repetition factor [X]; the default of 4 epochs goes back to Muennighoff et al., "Scaling
    Data-Constrained Language Models", arXiv:2305.16264 [X].

Departures:
    Infeasible caps are refused with a certificate; olmix answers nothing.
"""

from math import floor, log10

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InfeasibleError
from mixwright.feasibility import find_conflict, smallest_cap_scale, smallest_violation
from mixwright.polytope import FEASIBILITY_TOLERANCE, Polytope, is_feasible
from mixwright.projection import project
from mixwright.study import Study

__all__ = [
    "Polytope",
    "active_constraints",
    "compile_constraints",
    "is_feasible",
    "largest_target_tokens",
    "project",
    "repetition_caps",
    "uncapped_domains",
]

ACTIVE_TOLERANCE = 1e-6


def compile_constraints(study: Study) -> Polytope:
    """Return the set of mixtures the study allows.

    Raises:
        InfeasibleError: there is none. The message names constraints that contradict each other
            (none of them could be left out) and, where repetition is the cause, the largest
            target that would do.
    """
    polytope = _polytope(study, repetition_caps(study))
    if smallest_violation(polytope) <= FEASIBILITY_TOLERANCE:
        return polytope
    largest = largest_target_tokens(study)
    if largest is None:  # the caps may conflict too, but lifting them would not help
        polytope = _polytope(study, np.full(len(study.domains), np.inf))
    raise InfeasibleError(_explain(polytope, study, largest), largest)


def repetition_caps(study: Study) -> FloatArray:
    """Return each domain's largest share without too much repetition.

    Returns:
        Shape `(k,)`; infinite for a domain with unknown tokens or a study without a limit.
    """
    if study.repetition is None:
        return np.full(len(study.domains), np.inf)
    epochs, target = study.repetition.max_epochs, study.repetition.target_tokens
    return np.array(
        [
            np.inf if domain.tokens is None else epochs * domain.tokens / target
            for domain in study.domains
        ]
    )


def uncapped_domains(study: Study) -> tuple[str, ...]:
    """Return the domains that a repetition limit cannot bind, as their tokens are unknown."""
    if study.repetition is None:
        return ()
    return tuple(domain.name for domain in study.domains if domain.tokens is None)


def largest_target_tokens(study: Study) -> float | None:
    """Return the largest `target_tokens` for which a mixture exists.

    Exact: all caps shrink in proportion to the target, so that the tightest they can be is a
    linear programme. With caps alone it is `max_epochs` times all tokens.

    Returns:
        Tokens; infinite if repetition never binds (a domain with unknown tokens can take
        everything); None if the study has no limit or is infeasible without it.
    """
    if study.repetition is None:
        return None
    uncapped = _polytope(study, np.full(len(study.domains), np.inf))
    scale = smallest_cap_scale(uncapped, repetition_caps(study))
    if scale is None:
        return None
    return study.repetition.target_tokens / scale if scale > 0 else np.inf


def active_constraints(
    polytope: Polytope, mixture: FloatArray, tolerance: float = ACTIVE_TOLERANCE
) -> list[dict[str, str | float]]:
    """Return the constraints that hold with equality at a mixture.

    Args:
        polytope: the constraints.
        mixture: shape `(k,)`, a feasible mixture.
        tolerance: how near counts as equal, in shares.

    Returns:
        One `{"name", "kind", "bound", "value"}` each: `name` as in `Polytope.names`, `kind` its
        first part, `bound` what the constraint allows and `value` what the mixture has.
    """
    matrix, limits = polytope.rows()
    near = np.flatnonzero(limits - matrix @ mixture <= tolerance)
    return [_describe(polytope, int(i), mixture) for i in near]


def _describe(polytope: Polytope, row: int, mixture: FloatArray) -> dict[str, str | float]:
    name, k = polytope.names[row], polytope.num_domains
    kind = name.split(":")[0]
    if row < 2 * k:
        bound, value = np.concatenate([polytope.lower, polytope.upper])[row], mixture[row % k]
    else:  # a lower limit is stored as an upper limit on the negative
        sign = -1.0 if name.endswith(":lower") else 1.0
        bound = sign * polytope.b_ub[row - 2 * k]
        value = sign * (polytope.a_ub[row - 2 * k] @ mixture)
    return {"name": name, "kind": kind, "bound": float(bound), "value": float(value)}


def _polytope(study: Study, caps: FloatArray) -> Polytope:
    """Return the study's polytope with the given repetition caps, feasible or not."""
    declared = np.array([domain.upper for domain in study.domains], dtype=np.float64)
    uppers = [
        f"{'repetition' if cap < upper else 'upper'}:{domain.name}"
        for domain, cap, upper in zip(study.domains, caps, declared, strict=True)
    ]
    rows, limits, names = _linear_rows(study)
    return Polytope(
        lower=np.array([domain.lower for domain in study.domains], dtype=np.float64),
        upper=np.minimum(declared, caps),
        a_ub=np.array(rows, dtype=np.float64).reshape(len(rows), len(study.domains)),
        b_ub=np.array(limits, dtype=np.float64),
        names=(*(f"lower:{name}" for name in study.domain_names), *uppers, *names),
    )


def _linear_rows(study: Study) -> tuple[list[FloatArray], list[float], list[str]]:
    rows, limits, names = [], [], []
    for index, constraint in enumerate(study.linear):
        if np.isfinite(constraint.upper):
            rows.append(constraint.coefficients)
            limits.append(constraint.upper)
            names.append(f"linear:{index}:upper")
        if np.isfinite(constraint.lower):
            rows.append(-constraint.coefficients)
            limits.append(-constraint.lower)
            names.append(f"linear:{index}:lower")
    return rows, limits, names


def _explain(polytope: Polytope, study: Study, largest: float | None) -> str:
    conflict = "; ".join(
        _phrase(polytope, row)
        for row in find_conflict(polytope)
        if row >= polytope.num_domains or polytope.lower[row] != 0.0  # that is never the user's
    )
    message = (
        "no mixture satisfies the constraints: weights of at least 0 cannot sum to 1 with "
        f"{conflict}"
    )
    if largest is None or study.repetition is None:
        return message
    given = study.repetition.target_tokens
    return (
        f"{message}. The largest feasible target_tokens is {_round_down(largest):g}, not {given:g}"
    )


def _phrase(polytope: Polytope, row: int) -> str:
    entry = _describe(polytope, row, np.zeros(polytope.num_domains))
    kind, _, subject = str(entry["name"]).partition(":")
    bound = f"{entry['bound']:.6g}"
    if kind == "linear":
        index, side = subject.split(":")
        return f"linear constraint {index} at {'least' if side == 'lower' else 'most'} {bound}"
    if kind == "lower":
        return f"{subject} at least {bound}"
    return f"{subject} at most {bound} ({'its repetition cap' if kind == 'repetition' else kind})"


def _round_down(value: float, digits: int = 6) -> float:
    """Round towards zero, so that the printed figure is itself feasible."""
    unit = 10.0 ** (floor(log10(value)) - digits + 1)
    return floor(value / unit) * unit
