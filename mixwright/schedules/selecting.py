"""Which documents the selection of a stage chooses, by their scores.

A selection is JSON: `where` lists conditions on columns, each `above` a number, `up_to` one, or
both; all have to hold, and without any every document is chosen. A column is one of the documents,
or `1 - STRONG / WEAK` of two of them, as FRAMES writes the difference of perplexities.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mixwright.arrays import BoolArray, FloatArray
from mixwright.errors import InvalidInputError

_KNOWN = {"where", "tokens", "ascending", "each_once", "handover"}
_DIFFERENCE = re.compile(r"1 - (.+) / (.+)")


def require_selectable(selection: Mapping[str, Any], field: str) -> None:
    """Check that a selection says by conditions what it chooses.

    Raises:
        InvalidInputError: it has a part that is no condition, as a number of best documents.
    """
    odd = sorted(set(selection) - _KNOWN)
    if odd:
        raise InvalidInputError(
            f"a selection by '{odd[0]}' cannot be trained by proxies, only one by conditions on "
            "columns (`where`)",
            f"{field}/{odd[0]}",
        )


def columns_of(selection: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns of documents that a selection reads, each once."""
    names = [name for one in selection.get("where", ()) for name in _parts(one["column"])]
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


def _parts(column: str) -> tuple[str, ...]:
    found = _DIFFERENCE.fullmatch(column)
    return (column,) if found is None else (found[1], found[2])


def _values(column: str, columns: Mapping[str, FloatArray]) -> FloatArray:
    parts = [columns[name] for name in _parts(column)]
    values: FloatArray = parts[0] if len(parts) == 1 else 1 - parts[0] / parts[1]
    return values
