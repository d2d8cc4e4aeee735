"""Runs of a study with their loss curves, for the planner that fits them."""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from sqlalchemy.orm import Session

from app.errors import FieldError
from app.runs import service as runs
from app.studies.definition import listed
from mixwright.schedules.base import Budget
from mixwright.schedules.regmix_d import LossCurve, RegmixD, Trajectories, require_ends, runs_at
from mixwright.study import CompletedRuns, Study
from mixwright.surrogates import build_surrogate


def read(
    session: Session,
    study_id: str,
    study: Study,
    seed: int,
    progress: Callable[[float], None] = lambda share: None,
) -> Trajectories:
    """Return the runs of the fidelity of which most runs have points, the target's if even."""
    everything = runs.completed(session, study_id, study)
    curves = _curves(session, study_id, study)
    fidelity = _fidelity(study, everything, curves)
    rows = np.flatnonzero(everything.fidelity == fidelity)
    chosen = CompletedRuns(
        everything.mixtures[rows],
        everything.values[rows],
        everything.fidelity[rows],
        tuple(everything.ids[row] for row in rows),
    )
    whole = next((one.tokens for one in study.fidelities if one.name == fidelity), None)
    ends = {
        run: whole or (float(curves[run].tokens[-1]) if run in curves else 1.0)
        for run in chosen.ids
    }
    return Trajectories(study, chosen, curves, ends, seed, progress)


def _curves(session: Session, study_id: str, study: Study) -> dict[str, LossCurve]:
    points: dict[str, list[tuple[float, list[float]]]] = {}
    for run, tokens, metrics in runs.curves(session, study_id):
        values = [metrics.get(name, np.nan) for name in study.metric_names]
        if tokens > 0:
            points.setdefault(run, []).append((tokens, values))
    return {
        run: LossCurve(np.array([one[0] for one in own]), np.array([one[1] for one in own]))
        for run, own in points.items()
    }


def _fidelity(study: Study, everything: CompletedRuns, curves: dict[str, LossCurve]) -> str:
    pairs = zip(everything.ids, everything.fidelity, strict=True)
    counts = Counter(str(fidelity) for run, fidelity in pairs if run in curves)
    names = sorted(
        (one.name for one in study.fidelities), key=lambda name: name != study.target_fidelity
    )
    return max(names, key=lambda name: counts[name])


def wrong_ends(planner: RegmixD, given: Trajectories, budget: Budget) -> Iterator[FieldError]:
    """Yield the ends of stages around which too few runs have points to be fitted.

    Raises:
        InvalidInputError: ends that do not ascend to 1 or leave a stage without a batch; an
            unknown surrogate.
    """
    require_ends(planner.ends)
    for share in planner.ends[:-1]:
        budget.border(share)
    needed = build_surrogate(planner.surrogate, {}).min_runs(len(given.study.domains))
    for index, share in enumerate(planner.ends):
        part, left_out = runs_at(given.runs, given.curves, given.ends, share)
        if len(part.ids) < needed:
            missing = f"; without are {listed(left_out)}" if left_out else ""
            detail = (
                f"{len(part.ids)} of {len(given.runs.ids)} runs have points on both sides of "
                f"{share:g} of their tokens and '{planner.surrogate}' needs {needed}: report more "
                f"points of loss curves, or end stages elsewhere{missing}"
            )
            yield FieldError(pointer=f"/options/ends/{index}", detail=detail)
