"""The runs of a study as the page needs them: objectives, labels, and a fair sample of them."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from app.report.documents import Document
from app.report.numbers import percent
from app.runs.schemas import Origin, RunState
from mixwright.arrays import FloatArray, IntArray


def succeeded(runs: Sequence[Document]) -> list[Document]:
    """Return the runs that ended well, were not retracted, and kept one mixture."""
    return [
        run
        for run in runs
        if run["state"] == RunState.SUCCEEDED and run.get("origin") != Origin.SCHEDULE
    ]


def weights_of(mixture: Mapping[str, float], domains: Sequence[str]) -> FloatArray:
    """Return a mixture as an array `(k,)` in the order of `domains`."""
    return np.array([float(mixture[name]) for name in domains])


def objectives(runs: Sequence[Document], metrics: Sequence[str], factors: FloatArray) -> FloatArray:
    """Return each run's objective, shape `(n,)`: NaN where a metric that counts is missing.

    Args:
        runs: n runs.
        metrics: names in column order, length m.
        factors: shape `(m,)`, weight in the objective times sign.
    """
    counting = [(name, factor) for name, factor in zip(metrics, factors, strict=True) if factor]
    return np.array([_objective(run["metrics"], counting) for run in runs])


def _objective(values: Document, counting: Sequence[tuple[str, float]]) -> float:
    measured = [(values.get(name), factor) for name, factor in counting]
    return float(sum(np.nan if value is None else factor * value for value, factor in measured))


def evenly_by_rank(values: FloatArray, most: int) -> IntArray:
    """Return positions of at most `most` values, spread evenly over their ranks, lowest first."""
    order = np.argsort(values, kind="stable")
    if len(order) <= most:
        return order
    return order[np.linspace(0, len(order) - 1, most).round().astype(np.int64)]


def fair_shares(counts: Sequence[int], most: int) -> list[int]:
    """Return how many of each group to show, `most` in all: small groups are shown whole."""
    shares = [0] * len(counts)
    left = most
    for done, index in enumerate(sorted(range(len(counts)), key=lambda index: counts[index])):
        shares[index] = min(counts[index], left // (len(counts) - done))
        left -= shares[index]
    return shares


def name(run: Document) -> str:
    """Return the name that people know a run by."""
    return str(run["external_id"] or run["id"])


def label(run: Document) -> str:
    """Return what a run's point says about it: its names and the gist of what it is.

    The plotting library reads a little markup in labels, so names are escaped.
    """
    identifier = f"<br>{escape(run['id'])}" if run["external_id"] else ""
    return f"<b>{escape(name(run))}</b>{identifier}<br>{escape(gist(run))}"


def gist(run: Document) -> str:
    """Return a run's largest weights, or, of QuaDMix's parameters, its largest thresholds."""
    thresholds = _thresholds(run.get("parameters"))
    largest = sorted((thresholds or run["weights"]).items(), key=lambda item: -item[1])[:3]
    decimals = 1 if thresholds else 0
    shares = ", ".join(f"{one} {percent(share, decimals)}" for one, share in largest)
    return f"ω {shares}" if thresholds else shares


def _thresholds(parameters: Document | None) -> dict[str, float]:
    parts = (parameters or {}).items()
    return {domain: part["omega"] for domain, part in parts if isinstance(part, Mapping)}
