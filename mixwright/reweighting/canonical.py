"""States as canonical JSON: equal states are equal bytes, on any machine and after any restart."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.reweighting.base import State

SCHEMA = 1


def to_document(state: State) -> dict[str, Any]:
    """Return a state as JSON in which every axis has names; numbers that are not finite are null.

    Floats keep every bit: they are written as the shortest text that reads back as the same.
    """
    return {
        "schema": SCHEMA,
        "domains": list(state.domains),
        "weights": _named(state.domains, state.weights),
        "seed": state.seed,
        "updates": state.updates,
        "step": state.step,
        "vectors": {key: _named(state.domains, one) for key, one in state.vectors.items()},
        "memory": dict(state.memory),
    }


def from_document(document: Mapping[str, Any]) -> State:
    """Return the state that `to_document` described."""
    domains = tuple(document["domains"])
    return State(
        domains=domains,
        weights=_ordered(domains, document["weights"]),
        seed=document["seed"],
        updates=document["updates"],
        step=document["step"],
        vectors={key: _ordered(domains, one) for key, one in document["vectors"].items()},
        memory=document["memory"],
    )


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the one way to write a document.

    Raises:
        ValueError: it has a number that is not finite.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def digest(state: State) -> str:
    """Return what tells a state from others: SHA-256 of its canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(to_document(state))).hexdigest()


def _named(domains: tuple[str, ...], values: FloatArray) -> dict[str, float | None]:
    return {
        name: float(value) if np.isfinite(value) else None
        for name, value in zip(domains, values, strict=True)
    }


def _ordered(domains: tuple[str, ...], values: Mapping[str, float | None]) -> FloatArray:
    numbers = (values[name] for name in domains)
    return np.array([np.nan if value is None else value for value in numbers], dtype=np.float64)
