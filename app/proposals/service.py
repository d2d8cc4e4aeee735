"""Hands out runs to train: those whose holder fell silent first, then new ones by a design."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import Final

import numpy as np
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.clock import database_now
from app.db.models import StudyRow
from app.errors import FieldError, pointer
from app.proposals import budget, repository
from app.proposals.climbing import climb
from app.proposals.schemas import Ask, ProposalRead, ProposalsRead, Shortfall
from app.runs import service as runs
from app.runs.repository import StoredRun
from app.runs.schemas import RunState
from app.studies import service as studies
from app.studies.definition import to_core
from app.studies.spaces import named
from app.suggestions import service as suggestions
from app.suggestions.asking import Proposal, Question, Thought
from app.suggestions.schemas import Reason
from app.suggestions.situation import look
from app.wire import refuse
from mixwright.bayesopt.aims import Wanted
from mixwright.bayesopt.recipes import Recipe
from mixwright.constraints import compile_constraints
from mixwright.errors import InvalidInputError
from mixwright.quality.climb import FEWEST_RUNS
from mixwright.study import Study

_OPTIONS: Final[Mapping[str, set[str]]] = {
    "swarm": {"design"},
    "climb": {"rounds"},
    "bayesopt": {"recipe", "wanted", "bounds", "curves"},
}
_BLOCK = 64  # a study's proposals are blocks of a design, each with a seed of its own


def ask(session: Session, principal: Principal, study: str, asked: Ask) -> ProposalsRead:
    """Lease up to `asked.count` runs to the asker.

    Raises:
        NotFoundError: no such study.
        InvalidRequestError: an unknown fidelity, a pool of wrong mixtures, options that do not go
            together.
        InfeasibleError: the design leaves no mixture.
        ConflictError: nothing can be suggested, and why.
    """
    row = studies.find(session, principal, study, lock=True)
    refuse(wrong_fields(row, asked))
    now = database_now(session)
    silent = (
        [] if asked.pool else repository.expired(session, row.id, asked.fidelity, now, asked.count)
    )
    items = [
        _read(row, repository.lease(session, run, now, asked.lease_seconds), None) for run in silent
    ]
    found = _propose(session, row, asked, asked.count - len(items))
    granted = _within_budget(session, row, found.proposals)
    rows = [_values(row, one, now, asked.lease_seconds) for one in granted]
    repository.insert_runs(session, rows)
    items += [_read(row, run, one.pool_index) for run, one in zip(rows, granted, strict=True)]
    short = "budget" if len(granted) < len(found.proposals) else found.reason
    step = found.step
    return ProposalsRead(
        items=items,
        shortfall=None if short is None else Shortfall(reason=short, detail=_WHY[short]),
        recommendation=None if step is None else step.recommendation,
        stopping=None if step is None else step.stopping,
        outliers=[] if step is None else step.outliers,
    )


def suggestions_for(asked: Ask) -> Question | None:
    """Return what is asked of the ready queue, or None if it is not."""
    if asked.strategy != "bayesopt" or asked.pool is not None:
        return None
    return Question(asked.fidelity, asked.seed, asked.options)


def _propose(session: Session, study: StudyRow, asked: Ask, count: int) -> Thought:
    question = suggestions_for(asked)
    if question is not None:
        return suggestions.take(session, study, question, count)
    if asked.strategy == "bayesopt":
        return _by_thinking(session, study, asked, count)
    if asked.strategy == "climb":
        fidelity = asked.fidelity or cheapest(study)
        return climb(session, study, fidelity, count, asked.seed, asked.options.rounds)
    if asked.pool is None:
        return Thought(_designed(session, study, asked, count), None)
    found = _from_pool(session, study, asked, count)
    return Thought(found, "pool" if len(found) < count else None)


def _by_thinking(session: Session, study: StudyRow, asked: Ask, count: int) -> Thought:
    """Choose among a pool while the request waits."""
    from app.suggestions.thinking import think  # loads the core's solvers

    situation = look(session, study, with_curves=asked.options.curves)
    question = Question(asked.fidelity, asked.seed, asked.options)
    points = runs.points_of(study, asked.pool or ())
    pool = [(one.fidelity, point) for one, point in zip(asked.pool or (), points, strict=True)]
    return think(situation, question, count, pool, asked.wait)


def design(study: StudyRow, kind: str | None, count: int, seed: int) -> list[dict[str, float]]:
    """Return `count` points by the design `kind`, by default the space's own, as they are stored.

    Raises:
        InfeasibleError: the design leaves none.
        InvalidInputError: the space has no such design.
    """
    core = to_core(study.definition)
    designs = core.space.designs
    if kind is not None and kind not in designs:
        raise InvalidInputError(_no_design(core, kind), field="design/kind")
    drawn = designs[kind or next(iter(designs))](core, compile_constraints(core), count, seed)
    return [named(core, row) for row in drawn]


def _no_design(study: Study, kind: str) -> str:
    known = ", ".join(study.space.designs)
    return f"the space '{study.space.kind}' has no design '{kind}'; it has {known}"


def cheapest(study: StudyRow) -> str:
    """Return the name of the study's cheapest fidelity, or its first where no cost is known."""
    fidelities = study.definition["fidelities"]
    if all(one["cost"] is not None for one in fidelities):
        return str(min(fidelities, key=lambda one: one["cost"])["name"])
    return str(fidelities[0]["name"])


def wrong_fields(study: StudyRow, asked: Ask) -> list[FieldError]:
    """Return what is wrong with a request."""
    wrong_pool = runs.wrong_points(study, asked.pool or (), "pool")
    return [
        *runs.wrong_fidelity(study, asked.fidelity, "fidelity"),
        *wrong_pool,
        *([] if wrong_pool else _repeated(study, asked)),
        *_wrong_options(study, asked),
        *_wrong_design(study, asked),
        *(_wrong_climb(study, asked) if asked.strategy == "climb" else ()),
    ]


def _repeated(study: StudyRow, asked: Ask) -> Iterator[FieldError]:
    """Yield entries of a pool that come twice: the answer would name only one of them."""
    first: dict[tuple[str, ...], int] = {}
    for index, one in enumerate(asked.pool or ()):
        key = (one.fidelity, json.dumps(one.weights or one.parameters, sort_keys=True))
        if key in first:
            what = "mixture" if one.parameters is None else "parameters"
            detail = f"the same {what} and fidelity as entry {first[key]}"
            yield FieldError(pointer=f"/pool/{index}", detail=detail)
        first.setdefault(key, index)


def _wrong_options(study: StudyRow, asked: Ask) -> Iterator[FieldError]:
    options, given = asked.options, asked.options.model_dump(exclude_defaults=True)
    for name in sorted(set(given) - _OPTIONS[asked.strategy]):
        detail = f"'{asked.strategy}' has no such option"
        yield FieldError(pointer=pointer("options", name), detail=detail)
    known = {metric["name"] for metric in study.definition["metrics"]}
    for name in sorted(set(options.bounds) - known):
        detail = f"the study has no such metric; it has {', '.join(sorted(known))}"
        yield FieldError(pointer=pointer("options", "bounds", name), detail=detail)
    if (options.wanted is Wanted.BOUNDED) != bool(options.bounds):
        detail = "'wanted': 'bounded' and 'bounds' go together"
        yield FieldError(pointer="/options/bounds", detail=detail)
    if asked.pool is not None and options.needs_botorch and find_spec("botorch") is None:
        detail = "this server has no BoTorch, which these options need; leave the pool out, and a "
        yield FieldError(pointer="/pool", detail=detail + "worker does it")
    if options.wanted is not Wanted.OBJECTIVE and options.recipe is not Recipe.OWN:
        detail = f"'{options.wanted}' is for the recipe 'own'"
        yield FieldError(pointer="/options/recipe", detail=detail)


def _wrong_design(study: StudyRow, asked: Ask) -> Iterator[FieldError]:
    kind = asked.options.design
    if asked.strategy == "swarm" and kind is not None:
        core = to_core(study.definition)
        if kind not in core.space.designs:
            yield FieldError(pointer="/options/design", detail=_no_design(core, kind))


def _wrong_climb(study: StudyRow, asked: Ask) -> Iterator[FieldError]:
    space = to_core(study.definition).space
    if not space.is_simplex:
        detail = f"'climb' draws mixtures; in the space '{space.kind}' ask for swarm or bayesopt"
        yield FieldError(pointer="/strategy", detail=detail)
    if asked.pool is not None:
        detail = "'climb' draws its own mixtures; leave the pool out"
        yield FieldError(pointer="/pool", detail=detail)
    if asked.options.rounds is not None and asked.options.rounds[0] < FEWEST_RUNS:
        detail = f"the first round needs {FEWEST_RUNS} runs or more to predict from"
        yield FieldError(pointer="/options/rounds/0", detail=detail)
    if find_spec("lightgbm") is None:
        detail = "this server has no LightGBM, which 'climb' predicts with; install mixwright[fit]"
        yield FieldError(pointer="/strategy", detail=detail)


def _designed(session: Session, study: StudyRow, asked: Ask, count: int) -> list[Proposal]:
    start = repository.count_proposals(session, study.id)
    fidelity = asked.fidelity or cheapest(study)
    mixtures: list[dict[str, float]] = []
    while len(mixtures) < count:
        block, skip = divmod(start + len(mixtures), _BLOCK)
        seed = int(np.random.SeedSequence((asked.seed, block)).generate_state(1)[0])
        mixtures += design(study, asked.options.design, _BLOCK, seed)[skip:]
    return [Proposal(weights, fidelity) for weights in mixtures[:count]]


def _from_pool(session: Session, study: StudyRow, asked: Ask, count: int) -> list[Proposal]:
    pool = asked.pool or []
    points, used = runs.points_of(study, pool), repository.proposed(session, study.id)
    order = np.random.default_rng((asked.seed, len(used))).permutation(len(pool))
    free = [
        Proposal(points[index], pool[index].fidelity, int(index))
        for index in order
        if asked.fidelity in (None, pool[index].fidelity)
        and (pool[index].fidelity, points[index]) not in used
    ]
    return free[:count]


def _within_budget(session: Session, study: StudyRow, new: Sequence[Proposal]) -> list[Proposal]:
    if not new:
        return []
    left = budget.left(session, study)
    granted: list[Proposal] = []
    for one in new:
        cost = budget.cost_of(study, one.fidelity)
        if left.affordable(cost) < 1:
            break
        granted.append(one)
        left = budget.Budget(left.runs - 1, left.cost - cost)
    return granted


def _values(study: StudyRow, one: Proposal, now: datetime, seconds: float) -> StoredRun:
    return {
        **runs.new_row(study.id, one.fidelity, one.weights),
        "state": RunState.LEASED,
        "lease_token": 1,
        "lease_seconds": seconds,
        "lease_until": now + timedelta(seconds=seconds),
        "created_at": now,
        "started_at": now,
    }


def _read(study: StudyRow, run: StoredRun, pool_index: int | None) -> ProposalRead:
    return ProposalRead(**runs.to_read(study, run), pool_index=pool_index)


_WHY: Final[Mapping[Reason, str]] = {
    "budget": "the study's budget is spent, or held by runs that have not ended",
    "pool": "every mixture of the pool has been proposed",
    "round": "the rest of this round is under way; the next begins when all of it has ended",
    "rounds": "all rounds have been run; fit and recommend, or ask with another strategy",
    "none_ready": "suggestions are being computed; ask again, or wait longer",
    "time": "there was no time to choose more; ask again, or wait longer",
}
