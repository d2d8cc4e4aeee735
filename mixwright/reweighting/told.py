"""What a trainer tells, as JSON: checked, and made an observation."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

import numpy as np

from mixwright.arrays import LARGEST_NUMBER, BoolArray, FloatArray
from mixwright.errors import InvalidInputError
from mixwright.reweighting.base import (
    NUMBERS,
    TABLES,
    VECTORS,
    Blocks,
    Observation,
    Requirements,
    Table,
)

Document: TypeAlias = Mapping[str, Any]
Wrong: TypeAlias = tuple[tuple[str | int, ...], str]
"""The path to what is wrong in a document, and what is wrong with it."""
_NOT_A_NUMBER: Final = "is not a finite number; send null for what was not measured"
_TOO_LARGE: Final = f"magnitudes of {LARGEST_NUMBER:g} or more are refused"


class RefusedObservationError(InvalidInputError):
    """An observation that cannot be used, and is not kept.

    Attributes:
        wrong: everything that is wrong, each with its path.
    """

    def __init__(self, wrong: Sequence[Wrong]) -> None:
        super().__init__("; ".join(f"{'/'.join(map(str, path))}: {why}" for path, why in wrong[:3]))
        self.wrong = list(wrong)


def observation(told: Document, domains: tuple[str, ...]) -> Observation:
    """Return what a trainer told as an observation with vectors `(k,)` in the domains' order.

    Args:
        told: by the names of an observation's parts, numbers by the names of domains.
        domains: names, length k.

    Raises:
        RefusedObservationError: a name that is no domain, a number that is not finite, or a
            matrix that does not fit its names.
    """
    wrong = list(_wrong_parts(told, domains))
    if wrong:
        raise RefusedObservationError(wrong)
    return Observation(
        told["step"],
        vectors={name: _vector(told[name], domains) for name in VECTORS if _is_there(told, name)},
        tables={name: _table(told[name]) for name in TABLES if _is_there(told, name)},
        numbers={name: float(told[name]) for name in NUMBERS if _is_there(told, name)},
        scores=dict(told.get("scores") or {}),
        blocks=_blocks(told["block_losses"]) if _is_there(told, "block_losses") else None,
    )


def restricted(told: Observation, is_free: BoolArray, sampled: FloatArray | None) -> Observation:
    """Return what concerns some of the domains, with the weights their part was drawn with."""
    vectors = {name: values[is_free] for name, values in told.vectors.items()}
    part = None if sampled is None else sampled[is_free]
    if part is not None:
        part = part / part.sum() if part.sum() else None
    return replace(told, vectors=vectors, sampled=part)


def require(told: Observation, needs: Requirements) -> None:
    """Return if an observation has what an algorithm needs.

    Raises:
        RefusedObservationError: it is not there, or more of it is missing than it may be; or so is
            everything that was sent.
    """
    lacking = list(_lacking(told, needs))
    sent = [*told.vectors, *told.tables, *(["block_losses"] if told.blocks else [])]
    most = needs.most_missing
    if not lacking and sent and all(_mostly_missing(told, name, most) for name in sent):
        lacking = [((name,), _too_much(most)) for name in sent]
    if lacking:
        raise RefusedObservationError(lacking)


def _is_there(told: Document, name: str) -> bool:
    return told.get(name) is not None


def _vector(numbers: Document, domains: tuple[str, ...]) -> FloatArray:
    given = (numbers.get(name) for name in domains)
    return np.array([np.nan if one is None else one for one in given], dtype=np.float64)


def _table(table: Document) -> Table:
    shape = (len(table["rows"]), len(table["columns"]))
    values = [[np.nan if one is None else one for one in row] for row in table["values"]]
    return Table(
        tuple(table["rows"]),
        tuple(table["columns"]),
        np.array(values, dtype=np.float64).reshape(shape),
    )


def _blocks(blocks: Document) -> Blocks:
    losses = [np.nan if one is None else one for one in blocks["losses"]]
    return Blocks(np.array(blocks["ids"], dtype=np.int64), np.array(losses, dtype=np.float64))


def _wrong_parts(told: Document, domains: tuple[str, ...]) -> Iterator[Wrong]:
    known = set(domains)
    for name in (*VECTORS, "scores"):
        for key, value in (told.get(name) or {}).items():
            if name != "scores" and key not in known:
                yield (name, key), f"'{key}' is not a domain of the training"
            yield from _wrong_number(value, name, key)
    for name in NUMBERS:
        yield from _wrong_number(told.get(name), name)
    for name in TABLES:
        if _is_there(told, name):
            yield from _wrong_table(told[name], name)
    if _is_there(told, "block_losses"):
        yield from _wrong_blocks(told["block_losses"])


def _wrong_number(value: float | None, *where: str | int) -> Iterator[Wrong]:
    if value is not None and not math.isfinite(value):
        yield where, f"{value} {_NOT_A_NUMBER}"
    elif value is not None and abs(value) >= LARGEST_NUMBER:
        yield where, _TOO_LARGE


def _wrong_table(table: Document, name: str) -> Iterator[Wrong]:
    for axis in ("rows", "columns"):
        if len(set(table[axis])) != len(table[axis]):
            yield (name, axis), "a name comes twice"
    if len(table["values"]) != len(table["rows"]):
        yield (name, "values"), f"{len(table['rows'])} rows are named, not {len(table['values'])}"
    for index, row in enumerate(table["values"]):
        if len(row) != len(table["columns"]):
            expected = len(table["columns"])
            yield (name, "values", index), f"{expected} columns are named, not {len(row)}"
        for place, value in enumerate(row):
            yield from _wrong_number(value, name, "values", index, place)


def _wrong_blocks(blocks: Document) -> Iterator[Wrong]:
    if len(blocks["ids"]) != len(blocks["losses"]):
        detail = f"{len(blocks['ids'])} blocks have {len(blocks['losses'])} losses"
        yield ("block_losses", "losses"), detail
    for index, value in enumerate(blocks["losses"]):
        yield from _wrong_number(value, "block_losses", "losses", index)


def _lacking(told: Observation, needs: Requirements) -> Iterator[Wrong]:
    """Yield what is needed and not there, or missing more than it may be."""
    for needed in needs.fields:
        names = (needed,) if isinstance(needed, str) else needed
        sent = [name for name in names if _missing(told, name) is not None]
        if not sent:
            yield (names[0],), f"the algorithm needs {' or '.join(names)}"
        elif all(_mostly_missing(told, name, needs.most_missing) for name in sent):
            yield (sent[0],), _too_much(needs.most_missing)


def _too_much(most: float) -> str:
    share = "all" if most >= 1 else f"more than {100 * most:g} %" if most else "some"
    return f"{share} of it is missing or not finite"


def _mostly_missing(told: Observation, name: str, most: float) -> bool:
    missing = _missing(told, name) or 0.0
    return missing > most or missing == 1.0


def _missing(told: Observation, name: str) -> float | None:
    """Return the share of a part that is missing; None if it was not sent."""
    values: FloatArray | None = told.vectors.get(name)
    if name in told.tables:
        values = told.tables[name].values
    if name == "block_losses" and told.blocks is not None:
        values = told.blocks.losses
    if values is not None:
        return float(np.mean(~np.isfinite(values))) if values.size else 1.0
    is_there = name in told.numbers or (name == "scores" and bool(told.scores))
    return 0.0 if is_there else None
