"""How the schedules of a swarm compare: means over seeds, and paired differences."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.models import SwarmRow
from app.errors import ConflictError
from app.runs.repository import StoredRun
from app.runs.schemas import RunState
from app.studies import service as studies
from app.studies.definition import to_core
from app.swarms import repository
from app.swarms.schedule_schemas import ComparedSchedule, ComparisonRead, IntervalRead
from mixwright.arrays import FloatArray
from mixwright.schedules.comparing import Interval, interval, paired
from mixwright.study import Study


def compare(session: Session, principal: Principal, swarm_id: str) -> ComparisonRead:
    """Return the schedules of a swarm against its first, so far as runs have ended.

    Raises:
        NotFoundError: no such swarm.
        ConflictError: it has no schedules.
    """
    swarm = repository.get(session, principal, swarm_id)
    named = [one["name"] for one in swarm.request["design"].get("schedules", ())]
    if not named:
        raise ConflictError("the swarm trains no schedules; there is nothing to compare")
    study = to_core(studies.load(session, swarm.study_id).definition)
    by_name = _by_schedule(session, swarm)
    replicates = int(swarm.request["trainer"]["replicates"])
    objectives = {name: _values(study, by_name[name], replicates) for name in named}
    return ComparisonRead(
        swarm_id=swarm.id,
        baseline=named[0],
        schedules=[_row(study, by_name[name], objectives, name, named[0]) for name in named],
    )


def _by_schedule(session: Session, swarm: SwarmRow) -> dict[str, list[StoredRun]]:
    found: dict[str, list[StoredRun]] = defaultdict(list)
    for run in repository.runs_of_swarm(session, swarm.id):
        found[run["run_metadata"]["schedule"]].append(run)
    return found


def _row(
    study: Study,
    runs: Sequence[StoredRun],
    objectives: Mapping[str, FloatArray],
    name: str,
    baseline: str,
) -> ComparedSchedule:
    own, first = objectives[name], objectives[baseline]
    ended = [run for run in runs if run["state"] == RunState.SUCCEEDED]
    metrics = {
        metric: float(np.mean([run["metrics"][metric] for run in ended]))
        for metric in study.metric_names
        if ended and all(metric in run["metrics"] for run in ended)
    }
    return ComparedSchedule(
        name=name,
        runs=len(runs),
        ended=len(ended),
        objective=_read(interval(own[np.isfinite(own)])),
        difference=None if name == baseline else _read(paired(own, first)),
        metrics=metrics,
    )


def _values(study: Study, runs: Sequence[StoredRun], replicates: int) -> FloatArray:
    """Return the objective of each replicate `(r,)`, NaN where there is none."""
    found = np.full(replicates, np.nan)
    used = [i for i, weight in enumerate(study.objective) if weight]
    for run in runs:
        if run["state"] == RunState.SUCCEEDED:
            values = [run["metrics"].get(study.metric_names[i], np.nan) for i in used]
            oriented = np.array(values) * study.signs[used]
            found[run["run_metadata"]["replicate"]] = oriented @ study.objective[used]
    return found


def _read(found: Interval | None) -> IntervalRead | None:
    if found is None:
        return None
    return IntervalRead(mean=found.mean, lower=found.lower, upper=found.upper, count=found.count)
