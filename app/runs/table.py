"""Runs as CSV."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.runs.repository import StoredRun
from app.studies.spaces import Points

_LEADING = ("id", "external_id", "state", "fidelity", "cost", "created_at")


def csv_lines(definition: Mapping[str, Any], rows: Iterable[StoredRun]) -> Iterator[str]:
    """Yield the header, then a line per run: `weight:DOMAIN` and `metric:NAME` columns.

    Parameters of other spaces are columns like `parameter:DOMAIN/rater_weights/RATER`.
    """
    points = Points(definition)
    places = _places(points)
    metrics = [metric["name"] for metric in definition["metrics"]]
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(
        [
            *_LEADING,
            *(f"{'weight' if points.is_mixture else 'parameter'}:{place}" for place in places),
            *(f"metric:{name}" for name in metrics),
        ]
    )
    yield _take(buffer)
    for row in rows:
        numbers = _flat(points.parameters(row["weights"]) or row["weights"])
        writer.writerow(
            [
                *(row[name] for name in _LEADING),
                *(numbers[place] for place in places),
                *(row["metrics"].get(name) for name in metrics),
            ]
        )
        yield _take(buffer)


def _places(points: Points) -> list[str]:
    if points.is_mixture:
        return list(points.study.domain_names)
    return list(_flat(points.study.space.describe(points.study, points.study.prior)))


def _flat(document: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a document by their places, as in "web/omega"."""
    flat: dict[str, float] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}/{place}": number for place, number in _flat(value).items()}
        else:
            flat[name] = value
    return flat


def _take(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
