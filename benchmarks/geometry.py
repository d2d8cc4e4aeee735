"""Sampling, projecting and optimising within constraints, against what else could be used."""

import time
import warnings
from dataclasses import replace

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.optimize import Bounds, linprog, minimize
from scipy.optimize import LinearConstraint as ScipyConstraint
from scipy.spatial.distance import cdist, pdist
from scipy.stats import qmc

from benchmarks.tables import Section, machine, versions
from mixwright.hull import inside_hull
from mixwright.interior import find_centre
from mixwright.minimum import certify, minimise
from mixwright.polytope import Polytope, is_feasible
from mixwright.projection import project
from mixwright.recommend.exact import PenalisedObjective
from mixwright.sampling import sample_polytope
from mixwright.swarm import SWARM_DESIGNS

SIZES = (17, 64, 100)
NUM_SAMPLES = 128
REPEATS = 5
DRAWS = 200_000


def capped(num_domains, times_even=2.0):
    """No domain above `times_even` times an even share."""
    k = num_domains
    upper = np.full(k, min(1.0, times_even / k))
    names = tuple(f"{side}:{i}" for side in ("lower", "upper") for i in range(k))
    return Polytope(np.zeros(k), upper, np.empty((0, k)), np.empty(0), names)


def with_groups(polytope, num_rows=4, seed=0):
    """The same with `num_rows` random weighted sums held near their middle."""
    rng = np.random.default_rng(seed)
    rows = rng.random((num_rows, polytope.num_domains))
    limits = rows @ np.full(polytope.num_domains, 1 / polytope.num_domains) + 0.01
    names = tuple(f"linear:{i}:upper" for i in range(num_rows))
    return replace(polytope, a_ub=rows, b_ub=limits, names=(*polytope.names, *names))


def by_botorch(polytope, count, seed):
    """BoTorch's hit-and-run with a burn-in of 1,000 steps and every 32nd state kept."""
    import torch
    from botorch.utils.sampling import get_polytope_samples

    k = polytope.num_domains
    samples = get_polytope_samples(
        n=count,
        bounds=torch.tensor(np.stack([polytope.lower, polytope.upper])),
        inequality_constraints=[
            (torch.arange(k), -torch.tensor(row), -float(limit))
            for row, limit in zip(polytope.a_ub, polytope.b_ub, strict=True)
        ]
        or None,
        equality_constraints=[(torch.arange(k), torch.ones(k, dtype=torch.double), 1.0)],
        seed=seed,
        n_burnin=1000,
        n_thinning=32,
    )
    return samples.numpy()


def measure_sampler(sampler, polytope, reference):
    """Seconds, and how far means are off, in standard errors of as many independent draws."""
    began, off = time.process_time(), []
    for seed in range(REPEATS):
        draws = sampler(polytope, NUM_SAMPLES, seed)
        error = reference.std(axis=0) / np.sqrt(NUM_SAMPLES)
        off.append(((draws.mean(axis=0) - reference.mean(axis=0)) / error) ** 2)
    return (time.process_time() - began) / REPEATS, np.sqrt(np.mean(off))


def sampling_rows():
    """A row per number of domains and kind of constraints."""
    rows = []
    by_botorch(capped(5), 1, 0)  # imports torch, which is not what is measured
    for k in SIZES:
        for label, polytope in (("caps", capped(k)), ("caps, 4 sums", with_groups(capped(k)))):
            uniform = np.random.default_rng(0).dirichlet(np.ones(k), DRAWS)
            accepted = is_feasible(polytope, uniform).mean()
            reference = sample_polytope(polytope, 2000, 99)
            cells = []
            for sampler in (sample_polytope, by_botorch):
                seconds, off = measure_sampler(sampler, polytope, reference)
                cells += [f"{seconds:.2f}", f"{off:.1f}"]
            rows.append((k, label, *cells, f"{accepted:.1e}"))
    return rows


def projection_rows():
    """A row per number of domains: microseconds for one projection."""
    rows = []
    for k in SIZES:
        points = np.random.default_rng(0).normal(size=(200, k)) / k
        cells = []
        for polytope in (capped(k), with_groups(capped(k))):
            began = time.process_time()
            projected = np.array([project(polytope, point) for point in points])
            seconds = time.process_time() - began
            matrix, limits = polytope.rows()
            worst = max((projected @ matrix.T - limits).max(), 0.0)
            cells += [f"{seconds / len(points) * 1e6:.0f}", f"{worst:.0e}"]
        rows.append((k, *cells))
    return rows


class Law:
    """A sum of five exponentials, in the place of a fitted model."""

    def __init__(self, num_domains, seed=0):
        rng = np.random.default_rng(seed)
        self.rates, self.scale = rng.normal(size=(5, num_domains)) * 0.5, rng.dirichlet(np.ones(5))

    def objective_mean(self, mixtures):
        """The law at mixtures `(q, k)`."""
        return np.exp(mixtures @ self.rates.T) @ self.scale

    def objective_gradient(self, mixtures):
        """Its gradients `(q, k)`."""
        return (np.exp(mixtures @ self.rates.T) * self.scale) @ self.rates


def penalised(num_domains, strength, seed=0):
    """What method exact minimises, with a prior that has shares down to 1e-12."""
    prior = np.random.default_rng(seed).dirichlet(np.full(num_domains, 0.3))
    prior = np.maximum(prior, 1e-12)
    return PenalisedObjective(Law(num_domains, seed), prior / prior.sum(), strength)


def by_trust_constr(polytope, objective, start):
    """SciPy's interior point method, projected onto the constraints."""
    linear = [ScipyConstraint(np.ones((1, len(start))), 1.0, 1.0)]
    if len(polytope.b_ub):
        linear.append(ScipyConstraint(polytope.a_ub, -np.inf, polytope.b_ub))
    found = minimize(
        objective.value,
        start,
        jac=objective.gradient,
        method="trust-constr",
        bounds=Bounds(polytope.lower, polytope.upper),
        constraints=linear,
        options={"gtol": 1e-9, "xtol": 1e-12, "maxiter": 1000},
    )
    return certify(polytope, objective, project(polytope, found.x))


def minimising_rows(num_problems=20):
    """A row per size and strength: the worst excess and gap, and mean seconds."""
    rows = []
    for k in SIZES:
        for strength in (0.0, 0.01, 0.1):
            measured = np.array(
                [measure_minimisers(k, strength, seed) for seed in range(num_problems)]
            )  # (problems, minimisers, 3)
            cells = []
            for excess, gap, seconds in measured.transpose(1, 2, 0):
                cells += [f"{excess.max():.0e}", f"{gap.max():.0e}", f"{seconds.mean():.2f}"]
            rows.append((k, strength, *cells))
    return rows


def measure_minimisers(num_domains, strength, seed):
    """For both minimisers: how far above the better one, the gap, the seconds."""
    polytope = capped(num_domains, (2.0, 5.0, num_domains)[seed % 3])
    polytope = with_groups(polytope, 2, seed) if seed % 2 else polytope
    objective, found, seconds = penalised(num_domains, strength, seed), [], []
    start = 0.99 * project(polytope, objective.prior) + 0.01 * find_centre(polytope)
    for solver in (minimise, by_trust_constr):
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(solver(polytope, objective, start))
        seconds.append(time.process_time() - began)
    best = min(minimum.value for minimum in found)
    return [(m.value - best, m.gap, s) for m, s in zip(found, seconds, strict=True)]


def designs(polytope, count):
    """Designs of `count` mixtures over the whole simplex."""
    k = polytope.num_domains
    candidates = sample_polytope(polytope, 20 * count, 0)
    cube = qmc.Sobol(k, rng=0).random(count)
    spacings = -np.log1p(-np.minimum(cube, 1 - 1e-12))
    return {
        "uniform draws": candidates[:count],
        "Sobol points, exponential spacings": spacings / spacings.sum(axis=1, keepdims=True),
        "k-means of uniform draws": kmeans2(candidates, count, minit="points", rng=0)[0],
        "`space_filling`": SWARM_DESIGNS["space_filling"](None, polytope, count, 0),
    }


def design_rows(cases=((5, 32), (17, 64), (17, 512), (64, 128))):
    """A row per design: smallest distance between mixtures, largest gap around one."""
    rows = {}
    for k, count in cases:
        polytope = capped(k, k)
        elsewhere = sample_polytope(polytope, 2000, 99)
        for name, mixtures in designs(polytope, count).items():
            gap = cdist(elsewhere, mixtures).min(axis=1).max()
            rows.setdefault(name, []).append(f"{pdist(mixtures).min():.3f} / {gap:.3f}")
    titles = [f"{count} of {k} domains" for k, count in cases]
    return titles, [(name, *cells) for name, cells in rows.items()]


def hull_rows(cases=((512, 17), (512, 64))):
    """A row per size: milliseconds for one query inside the bounding box."""
    rows = []
    for n, k in cases:
        rng = np.random.default_rng(0)
        runs = rng.dirichlet(np.ones(k), n)
        queries = rng.dirichlet(np.ones(n), 20) @ runs
        began = time.process_time()
        assert inside_hull(runs, queries).all()
        squares = time.process_time() - began
        began = time.process_time()
        for query in queries:
            total, equation = np.append(query, 1.0), np.vstack([runs.T, np.ones(n)])
            assert linprog(np.zeros(n), A_eq=equation, b_eq=total).success
        programme = time.process_time() - began
        rows.append((n, k, f"{squares / 20 * 1e3:.2f}", f"{programme / 20 * 1e3:.2f}"))
    return rows


def sections():
    """The sections of docs/benchmarks.md."""
    notes = f"Machine: {machine()}; {versions('numpy', 'scipy', 'botorch')}."
    titles, filling = design_rows()
    return [
        Section(
            "Sampling within constraints",
            f"{NUM_SAMPLES} uniform mixtures, no domain above twice an even share; with 4 sums, "
            "four random weighted sums of weights are limited as well. Processor seconds; how far "
            "the means are off in standard errors of independent draws (1 is independent); and "
            "the share of draws from the simplex that rejection would keep (of "
            f"{DRAWS:,}). BoTorch: `get_polytope_samples`, burn-in 1,000, thinning 32.",
            ("domains", "limits", "s", "off", "BoTorch s", "off", "rejection keeps"),
            sampling_rows(),
            notes,
        ),
        Section(
            "Projecting onto constraints",
            "Processor microseconds for one exact projection, and the largest violation over 200.",
            ("domains", "caps, µs", "violation", "caps and 4 sums, µs", "violation"),
            projection_rows(),
            notes,
        ),
        Section(
            "Minimising a law with a penalty on leaving the prior",
            "The worst of 20 problems: how far a minimiser ends above the lower of the two; how "
            "far the function's tangent could still fall within the constraints (0 at the "
            "minimum); and mean processor seconds. Half of them limit two weighted sums, a third "
            "each caps weights at 2 times, 5 times and no multiple of an even share; the prior has "
            "shares down to 1e-12.",
            (
                "domains",
                "strength",
                "`exact` (SLSQP): excess",
                "gap",
                "s",
                "trust-constr: excess",
                "gap",
                "s",
            ),
            minimising_rows(),
            notes,
        ),
        Section(
            "Space-filling designs",
            "Smallest distance between two mixtures of the design (larger is better) / largest "
            "distance from a random mixture to the design (smaller is better), whole simplex.",
            ("design", *titles),
            filling,
            notes,
        ),
        Section(
            "Is a mixture among those that were tried?",
            "Milliseconds for one query inside the convex hull of the runs.",
            ("runs", "domains", "non-negative least squares", "linear programme"),
            hull_rows(),
            notes,
        ),
    ]


if __name__ == "__main__":
    print("\n".join(section.markdown() for section in sections()))
