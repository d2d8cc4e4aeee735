"""What a study's points are on the wire: weights of domains, or parameters of another space.

Inside, and in the database, every point is a mixture of coordinates by name.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from app.errors import FieldError, pointer
from app.studies.definition import to_core
from mixwright.spaces import QuadmixPoints
from mixwright.study import Study


class Points:
    """How points of one study are read and shown."""

    def __init__(self, definition: Mapping[str, Any]) -> None:
        self._definition = definition
        self.kind = kind_of(definition)
        self.is_mixture = self.kind == "mixture"
        self.field = "weights" if self.is_mixture else "parameters"

    @cached_property
    def study(self) -> Study:
        """The core's study."""
        return to_core(dict(self._definition))

    def wrong_parameters(
        self, document: Mapping[str, Any], *where: str | int
    ) -> Iterator[FieldError]:
        """Yield every part of `document` that keeps it from being a point."""
        for place, detail in self.study.space.wrong_parts(self.study, document):
            yield FieldError(pointer=pointer(*where, *place), detail=detail)

    def read(self, document: Mapping[str, Any]) -> dict[str, float]:
        """Return checked parameters as coordinates by name."""
        return named(self.study, self.study.space.parse(self.study, document))

    def parameters(self, weights: Mapping[str, float]) -> dict[str, Any] | None:
        """Return the parameters of a stored point; None in a study of mixtures."""
        if self.is_mixture:
            return None
        point = np.array([weights[name] for name in self.study.domain_names])
        return self.study.space.describe(self.study, point)

    def selects(self, weights: Mapping[str, float]) -> dict[str, Any] | None:
        """Return what a stored point of QuaDMix is expected to select, by domain.

        None in another space, or where the tokens of a domain are not known.
        """
        space = self.study.space if self.kind == "quadmix" else None
        if not isinstance(space, QuadmixPoints):
            return None
        found = space.implied(np.array([weights[name] for name in self.study.domain_names]))
        if found is None:
            return None
        parts = {name: getattr(found, name) for name in ("mixture", "tokens", "repetitions")}
        domains = space.vectors.domains
        told = {name: dict(zip(domains, one.tolist(), strict=True)) for name, one in parts.items()}
        return {**told, "expected_tokens": float(found.tokens.sum())}

    def shown(self, weights: Mapping[str, float]) -> dict[str, Any]:
        """Return the fields `weights` and `parameters` of a stored point, one of them null."""
        parameters = self.parameters(weights)
        return {"weights": None if parameters else dict(weights), "parameters": parameters}


def kind_of(definition: Mapping[str, Any]) -> str:
    """Return the kind of a stored study's space; studies from before there were others: mixture."""
    return str(definition.get("space", {}).get("kind", "mixture"))


def parameters_of(
    definition: Mapping[str, Any], weights: Mapping[str, float]
) -> dict[str, Any] | None:
    """Return the parameters of a stored point, for other features; None in a study of mixtures."""
    return Points(definition).parameters(weights)


def named(study: Study, point: "np.ndarray[Any, Any]") -> dict[str, float]:
    """Return a point's coordinates by name, as they are stored."""
    return dict(zip(study.domain_names, map(float, point), strict=True))
