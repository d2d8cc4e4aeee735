"""Surrogates on QuaDMix's parameters in planted worlds: what they learn, and what is chosen."""

import time
from dataclasses import replace

import numpy as np
from scipy import stats

from benchmarks.tables import Section, machine, versions
from mixwright.constraints import compile_constraints
from mixwright.fitting import fit_study
from mixwright.quality.search import TokenBudget, evolve
from mixwright.recommend import recommend
from mixwright.spaces import space_from
from mixwright.study import CompletedRuns, Domain, Fidelity, Metric, Study

WORLDS, DOMAINS, RUNS, TESTED, CANDIDATES, DOCUMENTS = 8, 13, 260, 500, 10_000, 1_000
SURROGATES = {"linear": (True, False), "gp": (True, False), "auto": (True, False)}
SURROGATES["lightgbm"] = (True,)  # with the implied mixture or without
SPACE = {"kind": "quadmix", "raters": ["good", "fair", "poor"]}
TRUST, TARGETS = (0.8, 0.4, 0.1), 5  # how much raters know of quality; what losses are measured on
FEWEST, NOISE = 0.05, 0.1  # share of all tokens a training needs; of the losses' spread
SCORES = ("rank correlation", "regmix", "evolve")


class World:
    """Domains of documents with hidden quality, raters that know something of it, and a loss.

    The loss on a target falls by a power of the mixture's worth to it, in which a domain counts
    the more the better what is selected of it; selecting few tokens repeats them, at a cost.
    """

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.available = rng.dirichlet(np.full(DOMAINS, 2.0))
        self.domains = [Domain(f"d{i}", one, 1 / DOMAINS) for i, one in enumerate(self.available)]
        self.space = space_from(SPACE, self.domains)
        trust = np.clip(TRUST + rng.normal(0, 0.15, (DOMAINS, len(TRUST))), -0.3, 0.95)
        self.documents = [_documents(one, rng) for one in trust]
        self.worth = np.exp(rng.normal(0, 1.2, (TARGETS, DOMAINS)) + rng.normal(0, 0.5, DOMAINS))
        self.powers = rng.uniform(0.2, 0.5, TARGETS)

    def study(self, *, knows_tokens):
        """The study; without tokens it has no implied mixtures."""
        given = (
            self.domains if knows_tokens else [replace(one, tokens=None) for one in self.domains]
        )
        space = space_from(SPACE, given)
        coordinates, fidelity = space.coordinates(given), (Fidelity("proxy"),)
        return Study(coordinates, (Metric("loss"),), np.ones(1), fidelity, "proxy", space=space)

    def losses(self, points):
        """True losses of points, from the documents that they select."""
        rows = self.space.decode(points).reshape(len(points), DOMAINS, -1)
        parts = [_selected(rows[:, i], *self.documents[i]) for i in range(DOMAINS)]
        shares, quality = np.moveaxis(np.array(parts), 0, -1)
        tokens = shares * self.available
        total = tokens.sum(axis=1, keepdims=True)
        worth = tokens / total * np.exp(0.35 * quality) @ self.worth.T
        repeated = np.maximum(np.log(FEWEST / total[:, 0]), 0)
        return 2 * (worth**-self.powers).mean(axis=1) + 0.3 * repeated


def _documents(trust, rng):
    """Hidden quality `(n,)`, penalties `(n, r)` and shares of tokens `(n,)` of a domain."""
    quality = rng.normal(size=DOCUMENTS)
    errors = rng.normal(size=(DOCUMENTS, len(trust)))
    tokens = np.exp(rng.normal(0, 0.7, DOCUMENTS))
    scores = trust * quality[:, None] + np.sqrt(1 - trust**2) * errors
    return quality, -scores, tokens / tokens.sum()


def _selected(rows, quality, penalties, tokens):
    """Selected share of a domain's tokens and their mean quality, `(2, q)`."""
    raters = penalties.shape[1]
    order = np.argsort(rows[:, :raters] @ penalties.T, axis=1)
    ranks = np.cumsum(tokens[order], axis=1)
    steepness, threshold, exponent, floor = rows[:, raters:, None].swapaxes(0, 1)
    above = np.maximum(threshold - ranks, 0)
    copies = (2 / (1 + np.exp(-steepness * above))) ** exponent * (ranks <= threshold) + floor
    selected = tokens[order] * copies
    share = selected.sum(axis=1)
    return share, (selected * quality[order]).sum(axis=1) / share


def sections():
    """What surrogates reach, and what the implied mixture adds."""
    start = time.perf_counter()
    found = [_measure(seed) for seed in range(WORLDS)]
    scores = {key: np.array([world[key] for world in found]) for key in found[0]}
    minutes = (time.perf_counter() - start) / 60
    return [_reached(scores, minutes), _gained(scores), _on_plateaus(scores)]


def _reached(scores, minutes):
    return Section(
        title="Surrogates in QuaDMix's space",
        words=(
            f"{WORLDS} planted worlds of {DOMAINS} domains with {DOCUMENTS:,} documents each and "
            f"{len(TRUST)} raters, {RUNS} runs with noise {NOISE:.0%} of the losses' spread: rank "
            f"correlation on {TESTED} new draws, and by how many spreads the true loss of what "
            f"`regmix` ({CANDIDATES:,} candidates) and `evolve` recommend is above the best run's, "
            "with 95 % t-intervals; in how many worlds `evolve` chose worse than the best run, and "
            "in how many it warned. Beside θ, surrogates see the mixture that it implies; they do "
            "not where the study knows no tokens."
        ),
        header=("surrogate", "sees", *SCORES, "`evolve` worse", "warned"),
        rows=[
            (
                f"`{name}`",
                "θ and mixture" if knows else "θ",
                *map(interval, values[:, : len(SCORES)].T),
                f"{np.sum(values[:, 2] > 0)}",
                f"{np.sum(values[:, 3] > 0)}",
            )
            for name, seen in SURROGATES.items()
            for knows in seen
            for values in [scores[name, knows]]
        ],
        notes=f"All took {minutes:.0f} minutes. {machine()}; {versions('numpy', 'lightgbm')}.",
    )


def _gained(scores):
    both = [name for name, seen in SURROGATES.items() if len(seen) > 1]
    return Section(
        title="What the implied mixture adds",
        words="The same worlds: what is gained by seeing it, world by world.",
        header=("surrogate", *SCORES),
        rows=[
            (f"`{name}`", *map(interval, (scores[name, True] - scores[name, False])[:, :3].T))
            for name in both
        ],
    )


def _on_plateaus(scores):
    ten, one = scores["lightgbm", True][:, 2], scores["one long search"]
    return Section(
        title="Evolving on the steps of trees",
        words=(
            "The same worlds with `lightgbm`: the mean of ten short searches, which `evolve` takes "
            "where the surrogate is no smooth function, and one search that asks for as many "
            "predictions. Spreads above the best run's true loss."
        ),
        header=("search", "true loss", "worlds worse than the best run"),
        rows=[
            ("mean of ten", interval(ten), f"{np.sum(ten > 0)}"),
            ("one long", interval(one), f"{np.sum(one > 0)}"),
            ("difference", interval(ten - one), ""),
        ],
    )


def interval(values):
    """Mean and half the width of its 95 % t-interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{np.mean(values):+.3f} ± {half:.3f}"


def _measure(seed):
    """Rank correlation, losses above the best run's, and warnings, by surrogate."""
    world, rng = World(seed), np.random.default_rng([seed, 1])
    study = world.study(knows_tokens=True)
    points = study.space.canonical(study.space.draw(study, compile_constraints(study), RUNS, rng))
    unseen = study.space.draw(study, compile_constraints(study), TESTED, rng)
    true, spread = world.losses(unseen), world.losses(unseen).std()
    measured = world.losses(points) + NOISE * spread * rng.normal(size=RUNS)
    ids = tuple(f"run {i}" for i in range(RUNS))
    runs = CompletedRuns(points, measured[:, None], np.array(["proxy"] * RUNS), ids)
    best = world.losses(points[[measured.argmin()]])[0]
    scores = {}
    for name, seen in SURROGATES.items():
        for knows in seen:
            study = world.study(knows_tokens=knows)
            model, _ = fit_study(study, runs, surrogate=name)
            found = [_recommend(study, model, runs, method) for method in ("regmix", "evolve")]
            above = (world.losses(np.array([one.weights for one in found])) - best) / spread
            rank = stats.spearmanr(model.objective_mean(unseen), true)[0]
            scores[name, knows] = (rank, *above, len(_doubts(found[1])))
    long = _long_search(study, model)  # of the last: trees
    scores["one long search"] = (world.losses(long[None])[0] - best) / spread
    return scores


def _recommend(study, model, runs, method):
    polytope = compile_constraints(study)
    return recommend(study, polytope, model, runs, method=method, candidates=CANDIDATES)


def _long_search(study, model):
    space = study.space
    found = evolve(
        space.vectors,
        lambda vectors: model.objective_mean(space.encode(vectors)),
        space.decode(model.mixtures),
        TokenBudget(np.array(space.available), 0.0, np.inf),
        seed=0,
    )
    return space.encode(found.vector[None])[0]


def _doubts(found):
    """Warnings that a run may be better than what is recommended."""
    return [one for one in found.warnings if "measured" in one or "best_observed" in one]
