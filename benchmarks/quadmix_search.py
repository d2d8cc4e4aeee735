"""The two searches of QuaDMix's space on planted losses, through LightGBM on noisy proxies."""

import time

import numpy as np

from benchmarks.tables import Section, machine, versions
from mixwright.quality.quadmix import space_of
from mixwright.quality.search import TokenBudget, evolve, mean_of_draws
from mixwright.surrogates import build_surrogate

SEEDS, PROXIES, NOISE = 10, 512, 0.01
SPACE = space_of([f"d{i}" for i in range(6)], ["useful", "noise"])
FEWEST = 0.05  # of all tokens: what a training needs; it repeats fewer, at a cost
PAPER = "mean of the best 10 of 100,000 draws"


def planted(seed):
    """A world: tokens of its domains, and a loss that LightGBM can only approach.

    A domain is worth its share times how good its selection is: a rater that knows something, and
    a low threshold, select better documents. One domain in three is noise.
    """
    rng = np.random.default_rng(seed)
    k = len(SPACE.domains)
    available = rng.dirichlet(np.full(k, 2.0))
    worth = np.where(np.arange(k) % 3 == 2, -1.0, rng.uniform(0.5, 2, k))

    def loss(vectors):
        tokens = SPACE.expected_tokens(vectors, available)
        total = tokens.sum(axis=1, keepdims=True)
        rows = vectors.reshape(len(vectors), k, SPACE.block)
        trust, threshold = rows[..., 0], rows[..., len(SPACE.raters) + 1]
        value = worth * (0.3 + trust * (1 - 5 * threshold)) * tokens / total
        gain = np.sqrt(np.maximum(value, 0)) + np.minimum(value, 0)
        repeated = np.maximum(np.log(FEWEST / total[:, 0]), 0)
        return 3 - gain.sum(axis=1) / 2 + 0.3 * repeated

    return available, loss


def sections():
    """A table of true losses, by search."""
    worlds = [_search(seed) for seed in range(SEEDS)]
    losses = {name: np.array([world[name][0] for world in worlds]) for name in worlds[0]}
    return [
        Section(
            title="Searching QuaDMix's space",
            words=(
                f"{SEEDS} planted worlds of {len(SPACE.domains)} domains and two raters "
                f"({SPACE.size} numbers), one of them noise; {PROXIES} proxies with noise {NOISE}, "
                "LightGBM with default options; the true loss of what each search chose. The "
                "evolution asks for 40,000 predictions and selects at least the tokens needed."
            ),
            header=("search", "true loss", "from the paper's, ± 2 s.e.", "seconds"),
            rows=[
                (
                    name,
                    f"{values.mean():.4f}",
                    _difference(values - losses[PAPER]),
                    f"{np.mean([world[name][1] for world in worlds]):.1f}",
                )
                for name, values in losses.items()
            ],
            notes=f"{machine()}; {versions('numpy', 'lightgbm')}.",
        )
    ]


def _difference(gaps):
    return f"{gaps.mean():+.4f} ± {2 * gaps.std(ddof=1) / np.sqrt(len(gaps)):.4f}"


def _search(seed):
    """Return true loss and seconds of every search in one world."""
    available, loss = planted(seed)
    rng = np.random.default_rng([seed, 1])
    tried = SPACE.sample(PROXIES, rng)
    measured = loss(tried) + NOISE * rng.normal(size=PROXIES)
    fitted = build_surrogate("lightgbm", {}).fit(tried, measured[:, None], seed)
    budget = TokenBudget(available, FEWEST, np.inf)

    def predict(vectors):
        return fitted.predict_mean(vectors)[:, 0]

    searches = {
        "best proxy as measured": lambda: tried[measured.argmin()],
        PAPER: lambda: mean_of_draws(SPACE, predict, seed).vector,
        "evolution": lambda: evolve(SPACE, predict, tried, budget, seed).vector,
    }
    return {name: _timed(search, loss) for name, search in searches.items()}


def _timed(search, loss):
    start = time.perf_counter()
    vector = search()
    return float(loss(vector[None])[0]), time.perf_counter() - start
