"""How proxies ended."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from workers.pace import Pace

Measured = dict[str, tuple[dict[str, float], dict[str, float]]]
"""By run, metrics and their standard errors."""


EMPTY = (
    "the parameters select no document of any domain; raise omega, the rank up to which documents "
    "are kept, or epsilon, the copies of all others"
)
DIVERGED = (
    "the loss or its gradient became infinite or undefined; a lower learning rate, or a longer "
    "warm-up, may help"
)


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a proxy ended.

    Attributes:
        run_id: which.
        state: succeeded; diverged: its loss or gradient became infinite or undefined; or empty: its
            parameters choose no document.
        reason: what happened to one that has not succeeded.
        metrics: of the last evaluation, by name.
        standard_errors: over windows, like `metrics`.
        realised_tokens: drawn from each domain.
        epochs: the same over the domain's pool, or over its distinct chosen tokens.
        device: what it was trained on.
        width: number of slots that were trained together.
        selected_tokens: chosen of each domain, copies counted; empty where a run has a mixture.
        last_metrics: of the last model, where `metrics` are those of an average of checkpoints.
        kept: `uri` and `sha256` of its parameters, where they were kept.
    """

    run_id: str
    state: str
    reason: str
    metrics: dict[str, float]
    standard_errors: dict[str, float]
    realised_tokens: dict[str, int]
    epochs: dict[str, float]
    device: str
    width: int
    selected_tokens: dict[str, int]
    last_metrics: dict[str, float] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)


def of_average(results: Sequence[RunResult], pace: Pace, measured: Measured) -> list[RunResult]:
    """Return results with the metrics of averages, and the last model's beside them."""
    weights = sum(pace.averaged.values())
    return [
        replace(
            result,
            metrics=measured[result.run_id][0],
            standard_errors=measured[result.run_id][1],
            last_metrics=result.metrics,
        )
        if weight and result.run_id in measured
        else result
        for result, weight in zip(results, np.asarray(weights).tolist(), strict=True)
    ]
