"""Which documents the selection of a stage chooses, by their scores.

A selection is JSON: `where` lists conditions on columns, each `above` a number, `up_to` one, or
both; all have to hold, and without any every document is chosen. A column is one of the documents,
or `1 - STRONG / WEAK` of two of them, as FRAMES writes the difference of perplexities.

Or it is a subset of every domain: `subset_tokens` different ones in all, in the shares of `tokens`,
and `best_by` the column whose highest documents they are; without it, any.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mixwright.arrays import BoolArray, FloatArray, IntArray
from mixwright.errors import InvalidInputError

_KNOWN = {"where", "tokens", "ascending", "each_once", "handover"}
_SUBSET = {"subset_tokens", "best_by", "epochs"}
_DIFFERENCE = re.compile(r"1 - (.+) / (.+)")


def require_selectable(selection: Mapping[str, Any], field: str) -> None:
    """Check that a selection says what it chooses: by conditions, or a subset of every domain.

    Raises:
        InvalidInputError: it has a part that is of neither, or that is of the other.
    """
    is_subset = "subset_tokens" in selection
    known = (_KNOWN - {"where"}) | _SUBSET if is_subset else _KNOWN
    odd = sorted(set(selection) - known)
    if odd:
        raise InvalidInputError(
            f"a selection by '{odd[0]}' cannot be trained by proxies, only one by conditions on "
            "columns (`where`), or a subset (`subset_tokens`, and `best_by` a column)",
            f"{field}/{odd[0]}",
        )
    if is_subset and not any((selection.get("tokens") or {}).values()):
        raise InvalidInputError(
            "a subset needs the `tokens` of each domain, whose shares it has", f"{field}/tokens"
        )


def columns_of(selection: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns of documents that a selection reads, each once."""
    names = [name for one in selection.get("where", ()) for name in _parts(one["column"])]
    names += [selection["best_by"]] if selection.get("best_by") else []
    return tuple(dict.fromkeys(names))


def selected(selection: Mapping[str, Any], columns: Mapping[str, FloatArray]) -> BoolArray:
    """Return which documents a selection chooses, `(n,)`.

    Args:
        selection: its conditions.
        columns: numbers of the documents by name, each `(n,)`; at least those of `columns_of`.
    """
    chosen = np.ones(len(next(iter(columns.values()))), dtype=np.bool_)
    for one in selection.get("where", ()):
        values = _values(one["column"], columns)
        chosen &= (values > one.get("above", -np.inf)) | ("above" not in one)
        chosen &= values <= one.get("up_to", np.inf)
    return chosen


def subset_of(selection: Mapping[str, Any]) -> dict[str, int]:
    """Return how many different tokens of each domain a subset has, one at least where any."""
    tokens = selection["tokens"]
    part = selection["subset_tokens"] / sum(tokens.values())
    return {name: max(1, round(part * n)) if n else 0 for name, n in tokens.items()}


def best(scores: FloatArray, tokens: IntArray, wanted: int) -> BoolArray:
    """Return the highest documents that have `wanted` tokens together, `(n,)`.

    The one that reaches it is among them. They have fewer where there are no more; a document whose
    score is NaN is none of them.

    Args:
        scores: shape `(n,)`.
        tokens: shape `(n,)`.
        wanted: tokens.
    """
    order = np.argsort(-scores, kind="stable")  # NaN comes last
    order = order[: np.count_nonzero(~np.isnan(scores))]
    before = np.cumsum(tokens[order]) - tokens[order]
    found = np.zeros(len(scores), dtype=np.bool_)
    found[order[before < wanted]] = True
    return found


def _parts(column: str) -> tuple[str, ...]:
    found = _DIFFERENCE.fullmatch(column)
    return (column,) if found is None else (found[1], found[2])


def _values(column: str, columns: Mapping[str, FloatArray]) -> FloatArray:
    parts = [columns[name] for name in _parts(column)]
    values: FloatArray = parts[0] if len(parts) == 1 else 1 - parts[0] / parts[1]
    return values
