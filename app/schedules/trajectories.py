"""Runs of a study with their loss curves, for the planner that fits them."""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from sqlalchemy.orm import Session

from app.errors import FieldError
from app.runs import service as runs
from app.studies.definition import listed
from mixwright.schedules.base import Budget
from mixwright.schedules.regmix_d import RegmixD, require_ends
from mixwright.schedules.trajectories import LossCurve, Trajectories
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
    apart = True
    for index, share in enumerate(planner.ends):
        part = given.at(share)
        if len(part.ids) < needed:
            apart = False
            where = f"on both sides of {share:g} of their tokens"
            detail = _too_few(given, part, where, planner.surrogate, needed)
            yield FieldError(pointer=f"/options/ends/{index}", detail=detail)
    part = planner.runs(given)[0]
    if apart and len(part.ids) < needed:
        where = "on both sides of every end of a stage"
        detail = _too_few(given, part, where, planner.surrogate, needed)
        yield FieldError(pointer="/options/fits", detail=f"{detail}; or fit stages separately")


def _too_few(
    given: Trajectories, part: CompletedRuns, where: str, surrogate: str, needed: int
) -> str:
    left_out = [run for run in given.runs.ids if run not in part.ids]
    missing = f"; without are {listed(left_out)}" if left_out else ""
    return (
        f"{len(part.ids)} of {len(given.runs.ids)} runs have points {where} and '{surrogate}' "
        f"needs {needed}: report more points of loss curves, or end stages elsewhere{missing}"
    )
