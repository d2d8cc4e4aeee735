"""The page of a training: how weights and losses went, what was decided, and what it waits for."""

from typing import Final

from app.report import training_charts as charts
from app.report import training_tables as tables
from app.report.figures import PALETTE
from app.report.filling import fill
from app.report.numbers import percent
from app.report.training_curves import Past
from app.trainings.history import History
from app.trainings.schemas import Fate
from mixwright.reweighting import REWEIGHTERS
from mixwright.reweighting.guards import Guards, build_guarded

LEADING: Final = 7
"""Domains whose curves stand out until the reader chooses."""


def render_training(history: History) -> str:
    """Return the page of a training as one HTML file with everything inside it.

    Opened from a server it asks that server, and nobody else, for what is new. The same history
    gives the same page.

    Args:
        history: what `app.trainings.history.read` returned.
    """
    past, training = Past(history), history.training
    _, guards = build_guarded(training.algorithm, training.options)
    panels, timeline = charts.charts(past, guards.warmup_steps), charts.timeline(past)
    return fill(
        "training",
        {
            "training": training,
            "algorithm": REWEIGHTERS[training.algorithm],
            "moved": _moved(past),
            "last": past.last_told,
            "states": states(past, guards),
            "panels": panels,
            "timeline": timeline,
            "thinned": charts.is_thinned(past),
            "drawn": min(len(past.domains), charts.MOST_DRAWN),
            "warmup_steps": guards.warmup_steps,
            "measures": [one.replace("_", " ") for one in past.measures],
            "domains": tables.domain_rows(past),
            "ledger": tables.ledger_rows(past, guards),
            "remarks": tables.remarks(past),
            "needs": tables.needs(training),
            "options": tables.option_rows(training),
            "history": history,
            "taken_back": past.taken_back,
            "data": {
                "tag": history.tag,
                "palette": PALETTE,
                "leading": past.domains[:LEADING],
                "charts": {one.id: one.picture for one in panels},
                "timeline": timeline.picture if timeline else None,
            },
        },
    )


def _moved(past: Past) -> dict[str, str] | None:
    """Return the domain whose weight is farthest from its first, with both; None if none moved."""
    now = past.history.training.weights
    first = {name: tables.first_weight(past, name) for name in now}
    most = max(first, key=lambda name: abs(now[name] - first[name]), default=None)
    if most is None or abs(now[most] - first[most]) < 5e-5:
        return None
    return {"domain": most, "first": percent(first[most]), "now": percent(now[most])}


def states(past: Past, guards: Guards) -> list[str]:
    """Return what a person should know before anything else, the most pressing first."""
    training, found = past.history.training, []
    found += [f"{one[0].upper()}{one[1:]}." for one in training.warnings]
    waiting = [one.version for one in past.history.versions if one.fate == Fate.PROPOSED]
    newest = [version for version in waiting if version > training.version]
    if newest:
        found.append(f"Version {newest[-1]} waits for approval; until then the weights stay.")
    if training.refused:
        one = training.refused == 1
        found.append(
            f"{training.refused} observation{'' if one else 's'} could not be used and "
            f"{'was' if one else 'were'} refused (422); the trainer was told why."
        )
    if training.position < guards.warmup_steps:
        found.append(f"The weights are left alone until step {guards.warmup_steps:,}.")
    if training.schedule is not None:
        found.append(f"The weights follow the schedule {training.schedule}.")
    elif training.algorithm == "static":
        found.append("The weights are held as they are: the algorithm is static.")
    return found
