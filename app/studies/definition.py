"""From what a client asked for to a study with every default filled in, and on to the core."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from app.errors import FieldError, InvalidRequestError, pointer
from app.studies.schemas import DomainSchema, StudyCreate
from app.studies.space_rules import complete_space, wrong_space
from app.wire import refuse
from mixwright.constraints import compile_constraints
from mixwright.errors import InfeasibleError
from mixwright.simplex import SUM_TOLERANCE
from mixwright.spaces import space_from
from mixwright.study import (
    Direction,
    Domain,
    Fidelity,
    LinearConstraint,
    Metric,
    Repetition,
    Study,
)

_CORE_FIELDS = ("name", "tokens", "prior", "lower", "upper")
EXACT = 1e-12


def complete(asked: StudyCreate) -> dict[str, Any]:
    """Return the study's definition as it is stored: `asked` with its defaults.

    Raises:
        InvalidRequestError: names every wrong field; infeasible constraints come with the largest
            feasible `target_tokens` where repetition is the cause.
    """
    refuse(list(_wrong_fields(asked)))
    definition = asked.model_dump(mode="json", exclude={"name"})
    for domain, prior in zip(definition["domains"], _priors(asked.domains), strict=True):
        domain["prior"] = prior
    definition["objective"] = asked.objective or {
        metric.name: 1.0 / len(asked.metrics) for metric in asked.metrics
    }
    definition["target_fidelity"] = asked.target_fidelity or asked.fidelities[0].name
    definition["space"] = complete_space(asked.space)
    _check_feasible(definition)
    return definition


def to_core(definition: dict[str, Any]) -> Study:
    """Return the stored definition as the numeric core's study."""
    names = [domain["name"] for domain in definition["domains"]]
    repetition = definition["constraints"]["repetition"]
    domains = [
        Domain(**{field: domain[field] for field in _CORE_FIELDS})
        for domain in definition["domains"]
    ]
    space = space_from(definition.get("space", {"kind": "mixture"}), domains)
    return Study(
        domains=space.coordinates(domains),
        metrics=tuple(
            Metric(metric["name"], Direction(metric["direction"]))
            for metric in definition["metrics"]
        ),
        objective=np.array(
            [definition["objective"].get(metric["name"], 0.0) for metric in definition["metrics"]]
        ),
        fidelities=tuple(Fidelity(**fidelity) for fidelity in definition["fidelities"]),
        target_fidelity=definition["target_fidelity"],
        linear=tuple(_linear(names, item) for item in definition["constraints"]["linear"]),
        repetition=None if repetition is None else Repetition(**repetition),
        space=space,
    )


def _linear(names: Sequence[str], item: dict[str, Any]) -> LinearConstraint:
    return LinearConstraint(
        coefficients=np.array([item["coefficients"].get(name, 0.0) for name in names]),
        lower=-math.inf if item["lower"] is None else item["lower"],
        upper=math.inf if item["upper"] is None else item["upper"],
    )


def _priors(domains: Sequence[DomainSchema]) -> list[float]:
    given = [domain.prior for domain in domains]
    if None in given:
        tokens = [domain.tokens for domain in domains]
        given = [1.0] * len(domains) if None in tokens else list(tokens)
    shares = np.array(given, dtype=float)
    total = shares.sum()
    if abs(total - 1) > EXACT:  # else they were normalised before: leave every digit alone
        shares /= total
    return [float(share) for share in shares]


def _check_feasible(definition: dict[str, Any]) -> None:
    try:
        compile_constraints(to_core(definition))
    except InfeasibleError as error:
        repeats = error.largest_target_tokens is not None
        where = pointer("constraints", *(["repetition", "target_tokens"] if repeats else []))
        raise InvalidRequestError(
            str(error), [FieldError(pointer=where, detail=str(error))]
        ) from error


def _wrong_fields(asked: StudyCreate) -> Iterator[FieldError]:
    yield from _duplicates("domains", [domain.name for domain in asked.domains])
    yield from _duplicates("metrics", [metric.name for metric in asked.metrics])
    yield from _duplicates("fidelities", [fidelity.name for fidelity in asked.fidelities])
    yield from _wrong_bounds(asked.domains)
    yield from _wrong_priors(asked.domains)
    yield from _wrong_objective(asked)
    yield from _wrong_target(asked)
    yield from _wrong_linear(asked)
    yield from wrong_space(asked)


def _duplicates(field: str, names: Sequence[str]) -> Iterator[FieldError]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield FieldError(pointer=pointer(field, index, "name"), detail=f"'{name}' comes twice")


def _wrong_bounds(domains: Sequence[DomainSchema]) -> Iterator[FieldError]:
    for index, domain in enumerate(domains):
        if domain.lower > domain.upper:
            yield FieldError(
                pointer=pointer("domains", index, "lower"),
                detail=f"the lower bound {domain.lower} is above the upper bound {domain.upper}",
            )


def _wrong_priors(domains: Sequence[DomainSchema]) -> Iterator[FieldError]:
    given = [domain.prior for domain in domains if domain.prior is not None]
    if given and len(given) < len(domains):
        for index, domain in enumerate(domains):
            if domain.prior is None:
                yield FieldError(
                    pointer=pointer("domains", index, "prior"),
                    detail="give a prior for every domain or for none",
                )
    elif given and abs(sum(given) - 1) > SUM_TOLERANCE:
        yield FieldError(
            pointer="/domains", detail=f"the priors sum to {sum(given):.6g}, they have to sum to 1"
        )


def _wrong_objective(asked: StudyCreate) -> Iterator[FieldError]:
    if asked.objective is None:
        return
    known = [metric.name for metric in asked.metrics]
    for name in asked.objective:
        if name not in known:
            yield FieldError(
                pointer=pointer("objective", name),
                detail=f"'{name}' is not a metric of the study; its metrics are {listed(known)}",
            )
    if not any(asked.objective.values()):
        yield FieldError(pointer="/objective", detail="give at least one metric a weight")


def _wrong_target(asked: StudyCreate) -> Iterator[FieldError]:
    known = [fidelity.name for fidelity in asked.fidelities]
    if asked.target_fidelity is None and len(known) > 1:
        yield FieldError(
            pointer="/target_fidelity", detail=f"say which of {listed(known)} is the target"
        )
    elif asked.target_fidelity is not None and asked.target_fidelity not in known:
        yield FieldError(
            pointer="/target_fidelity",
            detail=f"'{asked.target_fidelity}' is not a fidelity of the study; "
            f"its fidelities are {listed(known)}",
        )


def _wrong_linear(asked: StudyCreate) -> Iterator[FieldError]:
    known = {domain.name for domain in asked.domains}
    for index, item in enumerate(asked.constraints.linear):
        base = ("constraints", "linear", index)
        for name in item.coefficients:
            if name not in known:
                yield FieldError(
                    pointer=pointer(*base, "coefficients", name),
                    detail=f"'{name}' is not a domain of the study",
                )
        if item.lower is None and item.upper is None:
            yield FieldError(pointer=pointer(*base), detail="give a lower or an upper bound")
        elif item.lower is not None and item.upper is not None and item.lower > item.upper:
            yield FieldError(
                pointer=pointer(*base, "lower"),
                detail=f"the lower bound {item.lower} is above the upper bound {item.upper}",
            )


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return `names` for a message, shortened when there are many."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
