"""A small study whose report can be worked out by hand."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mixwright.model import Intervals

DOMAINS = ("web", "code", "books")
PRIOR = (0.6, 0.3, 0.1)
BEST = np.array([0.5, 0.35, 0.15])
RECOMMENDED = {"web": 0.5, "code": 0.4, "books": 0.1}


@dataclass(frozen=True)
class BowlModel:
    """objective = 2 + sum (w - BEST)^2, plus or minus 0.1."""

    mixtures: np.ndarray
    objective: np.ndarray
    signs: np.ndarray

    def objective_mean(self, mixtures):
        return 2.0 + ((mixtures - BEST) ** 2).sum(axis=1)

    def predict_objective(self, mixtures):
        mean = self.objective_mean(mixtures)
        return Intervals(mean, mean - 0.1, mean + 0.1)


@dataclass
class Page:
    """What `render_report` is given; tests change what they are about."""

    study: dict[str, Any]
    recommendation: dict[str, Any]
    fit_report: dict[str, Any]
    runs: list[dict[str, Any]]
    model: Any
    history: dict[str, Any] | None = None
    implied: dict[str, Any] | None = None

    def render(self) -> str:
        from app.report.page import render_report

        return render_report(
            self.study,
            self.recommendation,
            self.fit_report,
            self.runs,
            self.model,
            self.history,
            self.implied,
        )


def a_study() -> dict[str, Any]:
    return {
        "id": "study_1",
        "name": "three",
        "version": 1,
        "domains": [
            {"name": name, "tokens": 1e9, "prior": prior, "lower": 0.0, "upper": 1.0}
            for name, prior in zip(DOMAINS, PRIOR, strict=True)
        ],
        "metrics": [
            {"name": "loss", "direction": "minimize"},
            {"name": "accuracy", "direction": "maximize"},
        ],
        "objective": {"loss": 1.0, "accuracy": 0.5},
        "fidelities": [
            {"name": "small", "cost": 1.0, "parameters": 1e6, "tokens": 1e9},
            {"name": "large", "cost": 9.0, "parameters": 1e8, "tokens": 1e9},
        ],
        "target_fidelity": "large",
        "constraints": {"linear": [], "repetition": None},
    }


def some_runs(count: int = 8) -> list[dict[str, Any]]:
    """Return `count` runs at each fidelity: the same mixtures, ranked alike, 1 lower at large."""
    rng = np.random.default_rng(0)
    runs = []
    for index, mixture in enumerate(rng.dirichlet(np.ones(3), count)):
        for fidelity, offset in (("small", 0.0), ("large", -1.0)):
            loss = 3.0 + float(((mixture - BEST) ** 2).sum()) + offset
            runs.append(
                {
                    "id": f"run_{fidelity}_{index}",
                    "external_id": f"{fidelity}-{index}",
                    "fidelity": fidelity,
                    "weights": dict(zip(DOMAINS, map(float, mixture), strict=True)),
                    "metrics": {"loss": loss, "accuracy": 0.5},
                    "state": "succeeded",
                }
            )
    return runs


def scores(spearman: float | None = 0.91, runs: int = 8) -> dict[str, Any]:
    return {"spearman": spearman, "r2": 0.8, "mae": 0.0123, "coverage": 0.875, "runs": runs}


def a_series(observed: list[float | None], outside: int = 1) -> dict[str, list[float | None]]:
    """Return predictions 0.01 too high; the first `outside` have intervals of only 0.005."""
    half = [0.005 if index < outside else 0.05 for index in range(len(observed))]
    predicted = [None if value is None else value + 0.01 for value in observed]
    pairs = list(zip(predicted, half, strict=True))
    return {
        "observed": observed,
        "predicted": predicted,
        "lower": [None if value is None else value - width for value, width in pairs],
        "upper": [None if value is None else value + width for value, width in pairs],
    }


def a_fit_report(runs: list[dict[str, Any]]) -> dict[str, Any]:
    small = [run for run in runs if run["fidelity"] == "small"]
    loss = [run["metrics"]["loss"] for run in small]
    return {
        "surrogate": "auto",
        "chosen": {
            "surrogate": "share_power",
            "reason": "it had the smallest error",
            "candidates": [
                {"surrogate": "linear", "cv_error": 0.61},
                {"surrogate": "share_power", "cv_error": 0.21},
            ],
        },
        "fidelity": "small",
        "runs_used": len(small),
        "runs_available": len(runs),
        "metrics": {"loss": scores(), "accuracy": scores(None)},
        "objective": scores(0.93),
        "transfer": {
            "large": {
                "runs": len(runs) - len(small),
                "metrics": {"loss": scores(0.85), "accuracy": scores(None)},
                "objective": scores(0.87),
            }
        },
        "out_of_fold": {
            "run_ids": [run["id"] for run in small],
            "metrics": {"loss": a_series(loss), "accuracy": a_series([0.5] * len(small))},
            "objective": a_series([value - 0.25 for value in loss]),
        },
        "warnings": [],
    }


def a_baseline(mean: float, **more: Any) -> dict[str, Any]:
    objective = {"mean": mean, "lower": mean - 0.1, "upper": mean + 0.1}
    return {"objective": objective, "feasible": True, "inside_hull": True, **more}


def a_recommendation() -> dict[str, Any]:
    return {
        "id": "rec_7",
        "created_at": "2026-11-20T12:00:00Z",
        "weights": dict(RECOMMENDED),
        **a_baseline(2.005),
        "metrics": {},
        "baselines": {
            "prior": a_baseline(2.015, weights={}),
            "uniform": a_baseline(2.062, weights={}),
            "best_observed": a_baseline(
                2.03, run_id="run_small_3", observed=2.25, fidelity="small"
            ),
        },
        "active_constraints": [],
        "epochs": {"web": 0.5, "code": 0.4, "books": 0.1},
        "method": "exact",
        "warnings": [],
        "runs_used": 8,
        "runs_available": 16,
        "provenance": {
            "fit": "fit_3",
            "runs_digest": "d1d1",
            "study_version": 1,
            "seed": 11,
            "version": "0.1.0",
        },
        "digest": "abcd",
    }


@pytest.fixture
def page() -> Page:
    runs = some_runs()
    mixtures = np.array([list(run["weights"].values()) for run in runs])
    model = BowlModel(mixtures, np.array([1.0, 0.5]), np.array([1.0, -1.0]))
    return Page(a_study(), a_recommendation(), a_fit_report(runs), runs, model)


THETA = {
    "web": {
        "rater_weights": {"edu": 0.75, "clean": 0.25},
        **dict(zip(("lambda", "omega", "eta", "epsilon"), (400.0, 0.05, 0.5, 0.001), strict=True)),
    },
    "code": {
        "rater_weights": {"edu": 0.0, "clean": 1.0},
        **dict(zip(("lambda", "omega", "eta", "epsilon"), (800.0, 0.1, 1.0, 0.0), strict=True)),
    },
    "books": {
        "rater_weights": {"edu": 0.5, "clean": 0.5},
        **dict(zip(("lambda", "omega", "eta", "epsilon"), (0.0, 0.0, 0.2, 0.0005), strict=True)),
    },
}


def moved(omega):
    """The parameters with another threshold of web."""
    return {**THETA, "web": {**THETA["web"], "omega": float(omega)}}


def in_space(page, space, point_of):
    """Make a page of another space: `point_of(share)` are the parameters of a run."""
    from app.studies.spaces import Points

    page.study["space"] = space
    points = Points(page.study)
    for run in page.runs:
        run["parameters"] = point_of(run["weights"]["web"])
        run["weights"] = None
    coordinates = [list(points.read(run["parameters"]).values()) for run in page.runs]
    weights = np.array([1.0, 0.5])
    page.model = FlatModel(np.array(coordinates), weights, np.array([1.0, -1.0]))
    baselines = {"best_observed": page.recommendation["baselines"]["best_observed"]}
    page.recommendation |= {"weights": None, "epochs": {}, "baselines": baselines}
    return page


class FlatModel(BowlModel):
    """Everything is predicted to be 2, plus or minus 0.1, but for the first coordinate."""

    def objective_mean(self, mixtures):
        return 2.0 + mixtures[:, 0]


@pytest.fixture
def quadmix_page(page):
    limits = {"lambda": 1000.0, "omega": 0.1, "eta": 1.0, "epsilon": 0.001}
    space = {
        "kind": "quadmix",
        "raters": ["edu", "clean"],
        "lower_is_better": [],
        "steepness": "linear",
        "limits": limits,
    }
    in_space(page, space, lambda share: moved(0.1 * share))
    page.recommendation |= {
        "parameters": THETA,
        "active_constraints": [
            {"name": "limit:code/omega", "kind": "limit", "bound": 0.1, "value": 0.1}
        ],
    }
    page.recommendation["baselines"]["sampler_mean"] = a_baseline(2.1, parameters=THETA)
    return page


@pytest.fixture
def meta_rater_page(page):
    space = {"kind": "meta_rater", "raters": ["edu", "clean"], "lower_is_better": []}
    in_space(page, space, lambda share: {"edu": share, "clean": 1 - share})
    page.recommendation["parameters"] = {"edu": 0.6, "clean": 0.4}
    return page
