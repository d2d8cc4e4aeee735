"""What a run has to be in its study, checked once for a whole batch."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from app.errors import FieldError, pointer
from app.runs.schemas import RunCreate
from app.studies.definition import listed
from app.studies.spaces import Points
from mixwright.simplex import SUM_TOLERANCE

Weights: TypeAlias = Mapping[str, float]


class RunRules:
    """The names a run of a study may use.

    Attributes:
        domains: the study's domain names, in order.
        points: how its points are read and shown.
    """

    def __init__(self, definition: Mapping[str, Any]) -> None:
        self.domains = [domain["name"] for domain in definition["domains"]]
        self._metrics = [metric["name"] for metric in definition["metrics"]]
        self._fidelities = [fidelity["name"] for fidelity in definition["fidelities"]]
        self.points = Points(definition)

    def wrong_fields(self, run: RunCreate, *where: str | int) -> Iterator[FieldError]:
        """Yield every wrong field of `run`, which stands at `where` in the request."""
        yield from self.wrong_fidelity(run.fidelity, *where, "fidelity")
        yield from self.wrong_point(run.weights, run.parameters, *where)
        yield from self.wrong_metrics(run.metrics, *where, "metrics")

    def wrong_fidelity(self, fidelity: str, *where: str | int) -> Iterator[FieldError]:
        """Yield if the study has no such fidelity."""
        if fidelity not in self._fidelities:
            known = listed(self._fidelities)
            detail = f"'{fidelity}' is not a fidelity of the study, they are {known}"
            yield FieldError(pointer=pointer(*where), detail=detail)

    def wrong_metrics(
        self, metrics: Mapping[str, float], *where: str | int
    ) -> Iterator[FieldError]:
        """Yield the metrics that the study does not know."""
        for name in metrics:
            if name not in self._metrics:
                detail = f"'{name}' is not a metric of the study, they are {listed(self._metrics)}"
                yield FieldError(pointer=pointer(*where, name), detail=detail)

    def wrong_point(
        self, weights: Weights | None, parameters: Mapping[str, Any] | None, *where: str | int
    ) -> Iterator[FieldError]:
        """Yield what is wrong with the weights or parameters of a run, whichever it has to have."""
        sent, field = {"weights": weights, "parameters": parameters}, self.points.field
        for name, given in sent.items():
            if (given is not None) != (name == field):
                detail = f"the study's space is '{self.points.kind}': its runs have {field}"
                yield FieldError(pointer=pointer(*where, name), detail=detail)
        if self.points.is_mixture and weights is not None:
            yield from self.wrong_weights(weights, *where, field)
        elif not self.points.is_mixture and parameters is not None:
            yield from self.points.wrong_parameters(parameters, *where, field)

    def point_of(
        self, weights: Weights | None, parameters: Mapping[str, Any] | None
    ) -> tuple[dict[str, float], dict[str, float] | None]:
        """Return a checked point as it is stored, and weights as sent if that changed them."""
        if parameters is not None:
            return self.points.read(parameters), None
        assert weights is not None  # noqa: S101  - it was checked
        return normalise(weights, self.domains)

    def wrong_weights(
        self, weights: Mapping[str, float], *where: str | int
    ) -> Iterator[FieldError]:
        """Yield what keeps `weights` from being a mixture of the study's domains."""
        yield from wrong_mixture(weights, self.domains, "study", *where)

    def wrong_names(self, weights: Mapping[str, float], *where: str | int) -> Iterator[FieldError]:
        """Yield the domains that are missing and the names that are none."""
        yield from _wrong_names(weights, self.domains, "study", *where)


def wrong_mixture(
    weights: Mapping[str, float], domains: Sequence[str], owner: str, *where: str | int
) -> Iterator[FieldError]:
    """Yield what keeps `weights` from being a mixture of the `domains` of a study or a training."""
    names_differ = weights.keys() != set(domains)
    if names_differ:
        yield from _wrong_names(weights, domains, owner, *where)
    bad = [name for name, weight in weights.items() if not 0 <= weight < math.inf]
    for name in bad:
        yield FieldError(
            pointer=pointer(*where, name),
            detail=f"the weight of '{name}' is {weights[name]}, it has to be 0 or more",
        )
    total = sum(weights.values())
    if not bad and not names_differ and abs(total - 1) > SUM_TOLERANCE:
        yield FieldError(
            pointer=pointer(*where),
            detail=f"the weights sum to {total:.6g}; they have to sum to 1 within "
            f"{SUM_TOLERANCE:g}",
        )


def _wrong_names(
    weights: Mapping[str, float], domains: Sequence[str], owner: str, *where: str | int
) -> Iterator[FieldError]:
    known = set(domains)
    for name in domains:
        if name not in weights:
            yield FieldError(
                pointer=pointer(*where, name),
                detail=f"the weight of the domain '{name}' is missing; send 0 if it was unused",
            )
    for name in weights:
        if name not in known:
            yield FieldError(
                pointer=pointer(*where, name),
                detail=f"'{name}' is not a domain of the {owner}, they are {listed(domains)}",
            )


def normalise(
    weights: Mapping[str, float], domains: Sequence[str]
) -> tuple[dict[str, float], dict[str, float] | None]:
    """Return the weights in the study's order with sum 1, and as sent if that changed them."""
    total = math.fsum(weights.values())
    ordered = {name: float(weights[name]) for name in domains}
    if total == 1.0:
        return ordered, None
    return {name: weight / total for name, weight in ordered.items()}, ordered


def content_digest(run: RunCreate) -> str:
    """Return a SHA-256 that is equal for equal runs, whatever the order of their names."""
    content = [
        run.fidelity,
        sorted((run.weights or run.parameters or {}).items()),
        sorted(run.metrics.items()),
        run.cost,
        run.metadata,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
