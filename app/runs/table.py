"""Runs as CSV."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.runs.repository import StoredRun

_LEADING = ("id", "external_id", "state", "fidelity", "cost", "created_at")


def csv_lines(definition: Mapping[str, Any], rows: Iterable[StoredRun]) -> Iterator[str]:
    """Yield the header, then a line per run: `weight:DOMAIN` and `metric:NAME` columns."""
    domains = [domain["name"] for domain in definition["domains"]]
    metrics = [metric["name"] for metric in definition["metrics"]]
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(
        [
            *_LEADING,
            *(f"weight:{name}" for name in domains),
            *(f"metric:{name}" for name in metrics),
        ]
    )
    yield _take(buffer)
    for row in rows:
        writer.writerow(
            [
                *(row[name] for name in _LEADING),
                *(row["weights"][name] for name in domains),
                *(row["metrics"].get(name) for name in metrics),
            ]
        )
        yield _take(buffer)


def _take(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
