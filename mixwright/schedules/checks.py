"""What keeps a schedule from being trained, and what a reader should know before training it.

Sources of the warnings:
    A quality curriculum under strong decay: arXiv:2511.18903 [X abstract]; that a third of the
    peak is moderate [S], that a tenth is too little [I]. A smaller batch beside a smaller learning
    rate lowers the noise twice: ours [I], after the reasoning of arXiv:2605.25698 [X abstract].
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.constraints import compile_constraints
from mixwright.errors import InfeasibleError
from mixwright.polytope import Polytope
from mixwright.schedules.base import Schedule, Stage
from mixwright.study import Study

STRONG_DECAY = 0.1  # of the peak: a rate below it wastes what comes last
_ROUNDING = 1e-6  # relative, of epochs and shares: solvers and borders of batches miss by less
_LOADER_BLOCK = 2048  # sequences: levanter's default, and a stage of it starts at a block's start


def require_caps(
    schedule: Schedule,
    unique_tokens: Mapping[str, float | None],
    max_epochs: float | None,
) -> None:
    """Check repetition over all stages together.

    Raises:
        InfeasibleError: domains are repeated more often than allowed, though no stage alone may
            do so; names them, and says how many tokens would do.
    """
    if max_epochs is None:
        return
    epochs = schedule.epochs(unique_tokens)
    over = {
        name: count
        for name, count in epochs.items()
        if count is not None and count > max_epochs * (1 + _ROUNDING)
    }
    if over:
        largest = schedule.budget.tokens * max_epochs / max(over.values())
        seen = ", ".join(f"'{name}' {count:.3g} times" for name, count in over.items())
        raise InfeasibleError(
            f"all stages together see {seen} and {max_epochs:g} are allowed; train on at most "
            f"{largest:.4g} tokens, or give less to {', '.join(over)}",
            largest,
        )


def require_constraints(schedule: Schedule, study: Study) -> None:
    """Check the study's bounds and linear constraints on the shares of all stages together.

    Its limit of repetition is for another number of tokens, and left to `require_caps`.

    Raises:
        InfeasibleError: names every constraint that is broken, with what it allows and what the
            schedule has.
    """
    polytope = compile_constraints(replace(study, repetition=None))
    shares = schedule.effective_weights
    weights = np.array([shares.get(name, 0.0) for name in study.domain_names])
    matrix, limits = polytope.rows()
    broken = np.flatnonzero(matrix @ weights > limits + _ROUNDING)
    if shares and len(broken):
        said = "; ".join(_said(polytope, int(row), matrix, limits, weights) for row in broken)
        raise InfeasibleError(
            f"all stages together break constraints of the study: {said}; change the mixtures of "
            "stages or how long they last"
        )


def _said(
    polytope: Polytope, row: int, matrix: FloatArray, limits: FloatArray, weights: FloatArray
) -> str:
    """Return what a constraint allows and what there is; rows are `matrix @ w <= limits`."""
    name, k = polytope.names[row], polytope.num_domains
    scale = 1.0 if row < 2 * k else polytope.linear_scales()[row - 2 * k]
    lower = name.startswith("lower:") or name.endswith(":lower")
    sign = -scale if lower else scale
    allowed, found = sign * limits[row], sign * (matrix[row] @ weights)
    kind, _, which = name.partition(":")
    what = f"linear constraint {which.split(':')[0]}" if kind == "linear" else f"domain '{which}'"
    return f"{what} must be {'at least' if lower else 'at most'} {allowed:.6g}, it is {found:.6g}"


def warnings_of(schedule: Schedule) -> tuple[str, ...]:
    """Return sentences about what may go wrong."""
    return (*_decayed_curricula(schedule), *_double_counting(schedule), *_misaligned(schedule))


def _decayed_curricula(schedule: Schedule) -> Iterator[str]:
    ordered = [stage for stage in schedule.stages if (stage.selection or {}).get("ascending")]
    if not ordered:
        return
    last, peak = ordered[-1], schedule.budget.peak_learning_rate
    rate = last.rate.at(last.end_token)
    if rate < STRONG_DECAY * peak:
        yield (
            f"the best documents come last, where the learning rate falls to {rate / peak:.2g} of "
            "its peak: they can hardly be learned from, and averages of checkpoints do not help; "
            "end at about a third of the peak, or keep the rate and average checkpoints"
        )


def _double_counting(schedule: Schedule) -> Iterator[str]:
    for before, stage in pairwise(schedule.stages):
        start = stage.start_token
        drops = stage.batch.at(start) < 0.75 * before.batch.at(start)
        if drops and _falls(stage):
            yield (
                f"stage '{stage.name}' begins with a smaller batch and lowers the learning rate: "
                "one answers the other; keep the rate"
            )


def _falls(stage: Stage) -> bool:
    return stage.rate.at(stage.end_token) < stage.rate.at(stage.start_token)


def _misaligned(schedule: Schedule) -> Iterator[str]:
    block = _LOADER_BLOCK * schedule.budget.sequence_length
    wrong = [one for one in schedule.stages[1:] if one.start_token % block]
    if wrong and all(stage.weights is not None for stage in schedule.stages):
        nearest = max(1, round(wrong[0].start_token / block)) * block
        yield (
            f"stage '{wrong[0].name}' begins within a block of {_LOADER_BLOCK} sequences; loaders "
            f"with such blocks (levanter) can begin it at token {nearest:g} at the nearest"
        )
