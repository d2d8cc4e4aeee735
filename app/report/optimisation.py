"""What Bayesian optimisation thought after every result, in words and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.report.documents import Document
from app.report.numbers import ABSENT, decimals_for, fixed, percent, percentage_points, significant
from app.report.runs import evenly_by_rank
from mixwright.study import Direction, Study

MOST_ROWS = 30
"""Of a table about steps, of a front, and of the runs without weight."""

RECIPES = {
    "expected_improvement": "expected improvement over cost",
    "knowledge_gradient": "knowledge gradient over cost",
    "max_value_entropy": "max-value entropy over cost",
    "admire": "ADMIRE's scripts",
}
WANTED = {
    "worst_case": "the mixture whose worst metric is best",
    "pareto": "a front of the objective's metrics",
    "bounded": "the best objective while metrics stay within bounds",
}


@dataclass(frozen=True, slots=True)
class Optimisation:
    """One way in which suggestions were asked for, and what was thought.

    Attributes:
        asked: how they were asked for, in words, where that is not the usual way.
        steps: what was thought, oldest first, at least once.
        others: how many other ways of asking have steps too.
        has_goal: whether something else than the objective's sum was wanted.
    """

    asked: list[str]
    steps: Sequence[Document]
    others: int
    has_goal: bool

    @property
    def latest(self) -> Document:
        """What is known now."""
        return self.steps[-1]

    @property
    def has_costs(self) -> bool:
        """Whether it is known what was spent; else runs are counted."""
        return any(step["spent"] > 0 for step in self.steps)

    def some(self, most: int) -> list[Document]:
        """Return at most `most` steps, evenly spread, the first and the latest among them."""
        kept = np.sort(evenly_by_rank(np.arange(len(self.steps), dtype=float), most))
        return [self.steps[index] for index in kept]


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step in the table of steps."""

    time: str
    runs: str
    spent: str
    objective: str
    interval: str
    regret: str
    bound: str
    gain: str


@dataclass(frozen=True, slots=True)
class FidelityRow:
    """What is known of a fidelity."""

    name: str
    is_target: bool
    runs: str
    spent: str
    correlation: str
    interval: str
    noise: str
    gain: str


@dataclass(frozen=True, slots=True)
class WeightRow:
    """A domain's share in the optimiser's first and latest mixture, and in the page's."""

    name: str
    first: str
    latest: str
    change: str
    recommended: str


@dataclass(frozen=True, slots=True)
class OutlierRow:
    """A run that was given no weight."""

    run: str
    outcome: str
    value: str
    expected: str


@dataclass(frozen=True, slots=True)
class Front:
    """Mixtures that no other is expected to beat in every metric, as a table."""

    metrics: list[str]
    rows: "list[FrontRow]"
    count: int


@dataclass(frozen=True, slots=True)
class FrontRow:
    """One mixture of the front: its metrics, and its largest shares."""

    metrics: list[str]
    shares: str


def longest(study: Study, history: Document | None) -> Optimisation | None:
    """Return the optimisation with the most steps, of several such the one thought about last."""
    found = [one for one in (history or {}).get("items", ()) if one["steps"]]
    if not found:
        return None
    best = max(found, key=lambda one: (len(one["steps"]), one["steps"][-1]["created_at"]))
    has_goal = best["options"].get("wanted", "objective") != "objective"
    return Optimisation(asked_in_words(study, best), best["steps"], len(found) - 1, has_goal)


def asked_in_words(study: Study, optimisation: Document) -> list[str]:
    """Return in which respects suggestions were not asked for in the usual way."""
    options, parts = optimisation["options"], list[str]()
    if optimisation["fidelity"] is not None:
        parts.append(f"runs were proposed at {optimisation['fidelity']} only")
    if options.get("recipe", "own") != "own":
        parts.append(f"they were chosen by {RECIPES.get(options['recipe'], options['recipe'])}")
    if options.get("wanted", "objective") != "objective":
        parts.append(f"what is wanted is {WANTED.get(options['wanted'], options['wanted'])}")
    parts += [_bound(study, *bound) for bound in sorted(options.get("bounds", {}).items())]
    if options.get("curves"):
        parts.append("points of loss curves were learned from too")
    return parts


def _bound(study: Study, metric: str, value: float) -> str:
    limit = "at least" if is_maximised(study, metric) else "at most"
    return f"{metric} has to be {limit} {significant(value, 6)}"


def is_maximised(study: Study, metric: str) -> bool:
    """Return whether a metric is better when it is higher; one that is gone is not."""
    return any(one.name == metric and one.direction is Direction.MAXIMIZE for one in study.metrics)


def moved(weights: Mapping[str, float], others: Mapping[str, float]) -> float:
    """Return the share of the tokens that has to be moved to turn one mixture into another."""
    names = {*weights, *others}
    return 0.5 * sum(abs(weights.get(name, 0.0) - others.get(name, 0.0)) for name in names)


def step_rows(optimisation: Optimisation) -> list[StepRow]:
    """Return at most `MOST_ROWS` steps, oldest first."""
    now = optimisation.latest["recommendation"]["objective"]
    decimals = 1 + decimals_for(now["upper"] - now["lower"])
    return [_step_row(step, decimals) for step in optimisation.some(MOST_ROWS)]


def _step_row(step: Document, decimals: int) -> StepRow:
    objective, stopping = step["recommendation"]["objective"], step["stopping"]
    regret = stopping["regret"] if stopping else {}
    return StepRow(
        time=str(step["created_at"])[:16].replace("T", " "),
        runs=str(step["runs"]),
        spent=significant(step["spent"], 4),
        objective=fixed(objective["mean"], decimals),
        interval=f"{fixed(objective['lower'], decimals)} to {fixed(objective['upper'], decimals)}",
        regret=significant(regret.get("mean"), 2),
        bound=significant(regret.get("upper"), 2),
        gain=significant(stopping["expected_gain"] if stopping else None, 2),
    )


def fidelity_rows(optimisation: Optimisation, target: str) -> list[FidelityRow]:
    """Return what is known of every fidelity now."""
    return [_fidelity_row(one, target) for one in optimisation.latest["fidelities"]]


def _fidelity_row(known: Document, target: str) -> FidelityRow:
    correlation, is_target = known["correlation"], known["name"] == target
    interval = ""
    if correlation is not None and not is_target:
        interval = f"{fixed(correlation['lower'], 2)} to {fixed(correlation['upper'], 2)}"
    return FidelityRow(
        name=known["name"],
        is_target=is_target,
        runs=str(known["runs"]),
        spent=significant(known["spent"], 4),
        correlation=ABSENT if correlation is None else fixed(correlation["mean"], 2),
        interval=interval,
        noise=significant(known["noise"], 2),
        gain=significant(known["gain"], 2),
    )


def weight_rows(optimisation: Optimisation, recommended: Mapping[str, float]) -> list[WeightRow]:
    """Return every domain's share in the optimiser's mixtures, the largest first."""
    first = optimisation.steps[0]["recommendation"]["weights"]
    latest = optimisation.latest["recommendation"]["weights"]
    return [
        WeightRow(
            name=name,
            first=_share(first.get(name)),
            latest=_share(weight),
            change=percentage_points(weight - first.get(name, 0.0)),
            recommended=_share(recommended.get(name)),
        )
        for name, weight in sorted(latest.items(), key=lambda item: (-item[1], item[0]))
    ]


def _share(weight: float | None) -> str:
    return ABSENT if weight is None else percent(max(0.0, weight), 2)


def outlier_rows(optimisation: Optimisation, run_names: Mapping[str, str]) -> list[OutlierRow]:
    """Return the runs that have no weight now and still count.

    Args:
        optimisation: what was thought.
        run_names: by identifier of each run that counts, the name that people know it by.
    """
    return [
        OutlierRow(
            run=run_names.get(one["run"], one["run"]),
            outcome="the objective" if one["metric"] is None else one["metric"],
            value=significant(one["value"], 5),
            expected=significant(one["expected"], 5),
        )
        for one in optimisation.latest["outliers"]
        if one["run"] in run_names
    ]


def doubts(outliers: Sequence[OutlierRow]) -> list[str]:
    """Return a warning if runs were given no weight."""
    runs = {row.run for row in outliers}
    if not runs:
        return []
    subject = "A run" if len(runs) == 1 else f"{len(runs)} runs"
    return [
        f"{subject} cannot be right, judged by all the others, and had no weight in Bayesian "
        "optimisation; its section tells more."
    ]


def front_of(optimisation: Optimisation) -> Sequence[Document]:
    """Return the front as it is now, the recommended mixture first; empty where none is wanted."""
    return optimisation.latest["recommendation"].get("front") or ()


def front_metrics(study: Study, front: Sequence[Document]) -> list[str]:
    """Return the metrics of a front, in the study's order, and then those it has no more."""
    here = front[0]["metrics"] if front else {}
    known = [name for name in study.metric_names if name in here]
    return known + sorted(set(here) - set(known))


def front_table(study: Study, front: Sequence[Document]) -> Front | None:
    """Return the front as a table, the recommended mixture first; None where there is none."""
    if not front:
        return None
    metrics = front_metrics(study, front)
    rows = [
        FrontRow([significant(one["metrics"].get(name), 5) for name in metrics], largest(one))
        for one in front[:MOST_ROWS]
    ]
    return Front(metrics, rows, len(front))


def largest(entry: Document, most: int = 3) -> str:
    """Return the largest shares of a mixture in words."""
    ordered = sorted(entry["weights"].items(), key=lambda item: (-item[1], item[0]))[:most]
    return ", ".join(f"{name} {percent(max(0.0, weight), 0)}" for name, weight in ordered)
