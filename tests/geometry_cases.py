"""Studies, polytopes and models that the tests of the geometry share."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st

from mixwright.polytope import Polytope
from mixwright.study import (
    CompletedRuns,
    Domain,
    Fidelity,
    LinearConstraint,
    Metric,
    Repetition,
    Study,
)

SEEDS = st.integers(0, 2**32 - 1)


def box(num_domains, lower=0.0, upper=1.0):
    """A polytope with bounds alone."""
    names = [f"{kind}:{i}" for kind in ("lower", "upper") for i in range(num_domains)]
    return Polytope(
        np.full(num_domains, lower) if np.isscalar(lower) else np.array(lower, dtype=float),
        np.full(num_domains, upper) if np.isscalar(upper) else np.array(upper, dtype=float),
        np.empty((0, num_domains)),
        np.empty(0),
        tuple(names),
    )


def with_rows(polytope, rows, limits):
    """The polytope with `rows @ w <= limits` added."""
    rows = np.atleast_2d(np.asarray(rows, dtype=float))
    names = [f"linear:{i}:upper" for i in range(len(rows))]
    limits = np.array(limits, dtype=float)
    return replace(polytope, a_ub=rows, b_ub=limits, names=(*polytope.names, *names))


def random_polytope(seed, num_domains, num_rows):
    """A polytope around a random mixture: thin or wide, with some of its weights fixed."""
    rng = np.random.default_rng(seed)
    inside = rng.dirichlet(np.full(num_domains, rng.choice([0.2, 1.0, 5.0])))
    room = rng.choice([0.0, 1e-3, 0.2, 1.0]) * rng.random(num_domains)
    lower = np.where(rng.random(num_domains) < 0.5, 0.0, inside * rng.random(num_domains))
    polytope = box(num_domains, lower, np.minimum(inside + room, 1.0))
    if num_rows == 0:
        return polytope
    rows = rng.normal(size=(num_rows, num_domains)) * (rng.random((num_rows, num_domains)) < 0.7)
    slack = rng.random(num_rows) * rng.choice([0.0, 1e-3, 0.1])
    return with_rows(polytope, rows, rows @ inside + slack)


POLYTOPES = st.builds(
    random_polytope, SEEDS, st.sampled_from([2, 3, 5, 17]), st.sampled_from([0, 1, 2, 5])
)


def make_study(
    num_domains=3,
    *,
    tokens=None,
    prior=None,
    lower=0.0,
    upper=1.0,
    linear=(),
    repetition=None,
    metrics=("loss",),
):
    """A study with domains d0, d1, ... and `linear` as (coefficients, lower, upper)."""
    tokens = [None] * num_domains if tokens is None else tokens
    prior = np.full(num_domains, 1 / num_domains) if prior is None else np.array(prior)
    lower, upper = (np.broadcast_to(bound, num_domains) for bound in (lower, upper))
    return Study(
        domains=tuple(
            Domain(f"d{i}", tokens[i], float(prior[i]), float(lower[i]), float(upper[i]))
            for i in range(num_domains)
        ),
        metrics=tuple(Metric(name) for name in metrics),
        objective=np.full(len(metrics), 1 / len(metrics)),
        fidelities=(Fidelity("small"), Fidelity("large")),
        target_fidelity="large",
        linear=tuple(LinearConstraint(np.array(c, dtype=float), a, b) for c, a, b in linear),
        repetition=None if repetition is None else Repetition(*repetition),
    )


def reorder_study(study, order):
    """The same study with domain `order[i]` in place i."""
    return replace(
        study,
        domains=tuple(study.domains[i] for i in order),
        linear=tuple(replace(c, coefficients=c.coefficients[order]) for c in study.linear),
    )


def make_runs(mixtures, objective, fidelity="large"):
    """Runs r0, r1, ... with one metric."""
    mixtures = np.asarray(mixtures, dtype=float)
    return CompletedRuns(
        mixtures=mixtures,
        values=np.asarray(objective, dtype=float).reshape(len(mixtures), -1),
        fidelity=np.broadcast_to(np.asarray(fidelity), len(mixtures)),
        ids=tuple(f"r{i}" for i in range(len(mixtures))),
    )


@dataclass(frozen=True)
class LawModel:
    """Stands for a fitted model: the objective is `sum(scale * exp(rates @ w))`."""

    rates: np.ndarray
    scale: np.ndarray
    mixtures: np.ndarray
    kind: str = "law"
    is_differentiable: bool = True
    is_convex: bool = True

    def predict(self, mixtures):
        mean = self.objective_mean(mixtures)[:, None]
        return SimpleNamespace(mean=mean, lower=mean - 0.1, upper=mean + 0.1)

    def predict_objective(self, mixtures):
        mean = self.objective_mean(mixtures)
        return SimpleNamespace(mean=mean, lower=mean - 0.1, upper=mean + 0.1)

    def objective_mean(self, mixtures):
        return np.exp(mixtures @ self.rates.T) @ self.scale

    def objective_gradient(self, mixtures):
        return (np.exp(mixtures @ self.rates.T) * self.scale) @ self.rates


def random_law(seed, num_domains, num_terms=3):
    """A convex law with runs all over the simplex."""
    rng = np.random.default_rng(seed)
    return LawModel(
        rng.normal(size=(num_terms, num_domains)),
        rng.dirichlet(np.ones(num_terms)),
        rng.dirichlet(np.ones(num_domains), 64),
    )


@dataclass(frozen=True)
class TwoWells(LawModel):
    """Not convex: wells at the first two corners, the first one deeper; later domains cost more."""

    is_convex: bool = False

    def objective_mean(self, mixtures):
        costs = 0.05 * np.arange(mixtures.shape[1])
        return mixtures @ costs - 1.1 * mixtures[:, 0] ** 2 - mixtures[:, 1] ** 2

    def objective_gradient(self, mixtures):
        gradient = np.tile(0.05 * np.arange(mixtures.shape[1]), (len(mixtures), 1))
        gradient[:, 0] -= 2.2 * mixtures[:, 0]
        gradient[:, 1] -= 2.0 * mixtures[:, 1]
        return gradient
