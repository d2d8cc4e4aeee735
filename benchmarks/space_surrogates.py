"""Surrogates on QuaDMix's parameters at the size of the paper: what they learn, and how fast."""

import time

import numpy as np
from scipy.stats import spearmanr

from benchmarks.tables import Section, machine, versions
from mixwright.constraints import compile_constraints
from mixwright.fitting import fit_study
from mixwright.recommend import recommend
from mixwright.spaces import space_from
from mixwright.study import CompletedRuns, Domain, Fidelity, Metric, Study

SURROGATES = ("linear", "lightgbm", "gp", "multi_fidelity_gp", "auto")
DOMAINS, RUNS, TESTED, NOISE, CANDIDATES = 26, 500, 500, 0.01, 20_000
SPACE = {"kind": "quadmix", "raters": ["useful", "noise", "other noise"]}
FEWEST = 0.05  # of all tokens: a training that selects fewer repeats them, at a cost


def planted(seed):
    """A study of QuaDMix and the loss of its points.

    A domain is worth its share times how good its selection is; one domain in three is noise.
    """
    rng = np.random.default_rng(seed)
    available = rng.dirichlet(np.full(DOMAINS, 2.0))
    domains = [Domain(f"d{i}", tokens, 1 / DOMAINS) for i, tokens in enumerate(available)]
    space = space_from(SPACE, domains)
    worth = np.where(np.arange(DOMAINS) % 3 == 2, -1.0, rng.uniform(0.5, 2, DOMAINS))

    def loss(points):
        vectors = space.decode(points)
        tokens = space.vectors.expected_tokens(vectors, available)
        total = tokens.sum(axis=1, keepdims=True)
        rows = vectors.reshape(len(vectors), DOMAINS, -1)
        trust, threshold = rows[..., 0], rows[..., len(SPACE["raters"]) + 1]
        value = worth * (0.3 + trust * (1 - 5 * threshold)) * tokens / total
        gain = np.sqrt(np.maximum(value, 0)) + np.minimum(value, 0)
        return 3 - gain.sum(axis=1) / 2 + 0.3 * np.maximum(np.log(FEWEST / total[:, 0]), 0)

    scale = (Fidelity("proxy"),)
    coordinates = space.coordinates(domains)
    return Study(coordinates, (Metric("loss"),), np.ones(1), scale, "proxy", space=space), loss


def sections():
    """A table of surrogates."""
    study, loss = planted(0)
    polytope, rng = compile_constraints(study), np.random.default_rng(1)
    points = study.space.canonical(study.space.draw(study, polytope, RUNS, rng))
    measured = loss(points) + NOISE * rng.normal(size=RUNS)
    ids = tuple(f"run {i}" for i in range(RUNS))
    runs = CompletedRuns(points, measured[:, None], np.array(["proxy"] * RUNS), ids)
    unseen = study.space.draw(study, polytope, TESTED, rng)
    best = loss(points[[measured.argmin()]])[0]
    rows = [_row(study, polytope, runs, name, unseen, loss) for name in SURROGATES]
    return [
        Section(
            title="Surrogates in QuaDMix's space",
            words=(
                f"One planted world of {DOMAINS} domains and {len(SPACE['raters'])} raters "
                f"({len(study.domains)} coordinates), {RUNS} runs with noise {NOISE}: seconds to "
                f"fit with cross-validation, rank correlation on {TESTED} new draws, and the true "
                f"loss of what `regmix` ({CANDIDATES:,} candidates) and `evolve` recommend. The "
                f"best run's is {best:.4f}."
            ),
            header=("surrogate", "seconds", "rank correlation", "regmix", "evolve"),
            rows=rows,
            notes=f"{machine()}; {versions('numpy', 'scipy', 'lightgbm')}.",
        )
    ]


def _row(study, polytope, runs, name, unseen, loss):
    start = time.perf_counter()
    model, _ = fit_study(study, runs, surrogate=name)
    seconds = time.perf_counter() - start
    found = [
        recommend(study, polytope, model, runs, method=method, candidates=CANDIDATES).weights
        for method in ("regmix", "evolve")
    ]
    correlation = spearmanr(model.objective_mean(unseen), loss(unseen))[0]
    losses = [f"{loss(one[None])[0]:.4f}" for one in found]
    return (f"`{name}`", f"{seconds:.1f}", f"{correlation:.3f}", *losses)
