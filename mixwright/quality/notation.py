"""QuaDMix's parameters as people write them: JSON by domain, with the paper's names.

```json
{"web": {"rater_weights": {"edu": 0.5, "dclm": 0.5},
         "lambda": 500, "omega": 0.05, "eta": 0.5, "epsilon": 0.0005}}
```
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.quality.parameters import PER_DOMAIN, SUM_TOLERANCE, Parameters, check_parameters

_PARTS = ("rater_weights", *PER_DOMAIN)
Place = tuple[str, ...]


def describe(
    parameters: Parameters, domains: Sequence[str], raters: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return parameters of k domains and r raters as JSON values."""
    return {
        domain: {
            "rater_weights": dict(zip(raters, weights, strict=True)),
            **{name: float(values[place]) for name, values in parameters.scalars.items()},
        }
        for place, (domain, weights) in enumerate(
            zip(domains, parameters.rater_weights.tolist(), strict=True)
        )
    }


def parse(document: Mapping[str, Any], domains: Sequence[str], raters: Sequence[str]) -> Parameters:
    """Return the parameters that JSON values describe; rater weights are made to sum to 1.

    Raises:
        InvalidInputError: they are not of these domains and raters, or out of range; says which
            part, as in "web/omega". `wrong_parts` tells all of them.
    """
    for place, detail in wrong_parts(document, domains, raters):
        raise InvalidInputError(f"{'/'.join(place)}: {detail}", field="/".join(place))
    rows = [[document[name]["rater_weights"][rater] for rater in raters] for name in domains]
    weights = np.array(rows, dtype=np.float64)
    scalars = ([document[name][part] for name in domains] for part in PER_DOMAIN)
    found = Parameters(
        weights / weights.sum(axis=1, keepdims=True),
        *(np.array(one, dtype=np.float64) for one in scalars),
    )
    check_parameters(found, tuple(domains), len(raters))
    return found


def parse_rater_weights(document: Mapping[str, Any], raters: Sequence[str]) -> FloatArray:
    """Return weights of raters `(r,)`, made to sum to 1.

    Raises:
        InvalidInputError: they are not of these raters, or no shares.
    """
    for place, detail in wrong_rater_weights(document, raters, ()):
        raise InvalidInputError(f"{'/'.join(place)}: {detail}", field="/".join(place))
    weights = np.array([document[rater] for rater in raters], dtype=np.float64)
    return np.asarray(weights / weights.sum())


def wrong_parts(
    document: Mapping[str, Any], domains: Sequence[str], raters: Sequence[str]
) -> Iterator[tuple[Place, str]]:
    """Yield where JSON values are not parameters of these domains and raters, and why."""
    yield from _wrong_names(document, domains, (), "domain")
    for domain in domains:
        part = document.get(domain)
        if isinstance(part, Mapping):
            yield from _wrong_names(part, _PARTS, (domain,), "number")
            yield from _wrong_numbers(part, domain, raters)
        elif domain in document:
            yield (domain,), f"an object with {', '.join(_PARTS)} is needed"


def _wrong_numbers(
    part: Mapping[str, Any], domain: str, raters: Sequence[str]
) -> Iterator[tuple[Place, str]]:
    for name in PER_DOMAIN:
        largest = math.inf if name == "lambda" else 1.0
        if name in part and not _is_between(part[name], largest):
            most = "" if math.isinf(largest) else f" and at most {largest:g}"
            yield (domain, name), f"a finite number of at least 0{most} is needed"
    if "rater_weights" in part:
        yield from wrong_rater_weights(part["rater_weights"], raters, (domain, "rater_weights"))


def wrong_rater_weights(
    weights: object, raters: Sequence[str], where: Place
) -> Iterator[tuple[Place, str]]:
    """Yield where a JSON value is not weights of these raters with sum 1, and why."""
    if not isinstance(weights, Mapping):
        yield where, "an object of weights by rater is needed"
        return
    yield from _wrong_names(weights, raters, where, "rater")
    known = [weights[rater] for rater in raters if rater in weights]
    bad = [rater for rater in raters if not _is_between(weights.get(rater, 0.0), math.inf)]
    for rater in bad:
        yield (*where, rater), "a finite number of at least 0 is needed"
    if not bad and len(known) == len(raters) and abs(sum(known) - 1) > SUM_TOLERANCE:
        yield where, f"the weights sum to {sum(known):.6g}, they have to sum to 1"


def _wrong_names(
    found: Mapping[str, Any], wanted: Sequence[str], where: Place, what: str
) -> Iterator[tuple[Place, str]]:
    for name in wanted:
        if name not in found:
            yield (*where, name), f"this {what} is missing"
    for name in found:
        if name not in wanted:
            yield (*where, name), f"there is no such {what}; there are {', '.join(wanted)}"


def _is_between(value: object, largest: float) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0.0 <= value <= min(largest, sys.float_info.max)
