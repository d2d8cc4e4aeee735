"""TiKMiX-M: TiKMiX-D, then a search by a regression on mixtures whose influence was measured.

`plan` hands out candidate mixtures around the prior, named `mixture/STAGE/NUMBER`. The trainer
measures the influence of each on every task and adds it to `influence` as a column of that name,
beside the columns of the domains. Boosted trees learn the sum over tasks of normalised influence
from them. The search starts at TiKMiX-D's weights: it draws mixtures from a Dirichlet distribution
around the best so far, and the mean of the few that the trees rate highest is the next best.

Source:
    "TiKMiX: Take Data Influence into Dynamic Mixture for Language Model Pre-training",
    arXiv:2508.17677. No code was found. Grade of evidence: PAPER.

Departures:
    The paper wants a broad search first, yet lowers the concentration α, which widens it; here α
    rises, and `paper_order` turns that round. How many are drawn, kept and how often, the range of
    α and the trees' settings are not given: these are ours. Parameters of the Dirichlet
    distribution are at least 1e-3. With fewer than 30 measured candidates, or equal ones, the
    weights are TiKMiX-D's, as `search` says.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.options import option
from mixwright.reweighting.base import (
    Json,
    Observation,
    Requirements,
    State,
    Update,
)
from mixwright.reweighting.tikmix_d import (
    Influence,
    TiKMiXD,
    influence_diagnostics,
    remapped_prior,
    told_influence,
)

_FEWEST_PAIRS = 30
_SMALLEST_PARAMETER = 1e-3  # of the Dirichlet distribution
_NARROWEST, _WIDEST = 0.5, 2.0  # times the prior
_ROUNDS_OF_CANDIDATES = 100
_PREFIX = "mixture/"
_TREES = {
    "objective": "regression",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_child_samples": 5,
    "seed": 0,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
_NUM_TREES = 200


@dataclass(frozen=True, slots=True)
class TiKMiXM:
    """Options of TiKMiX-M."""

    alpha: float = option(1.0, "α of TiKMiX-D, against unequal gains of tasks.", minimum=0.0)
    beta: float = option(1.0, "β of TiKMiX-D, for the sum of gains.", minimum=0.0)
    gamma: float = option(1.0, "γ of TiKMiX-D, for the entropy of the weights.", minimum=0.0)
    candidates: int = option(256, "Mixtures to measure in a stage.", minimum=0, maximum=10_000)
    samples: int = option(
        2000, "Mixtures drawn in a round of the search.", minimum=1, maximum=100_000
    )
    rounds: int = option(20, "Rounds of the search.", minimum=1, maximum=1000)
    top_k: int = option(20, "Mixtures whose mean a round returns.", minimum=1, maximum=100_000)
    broadest: float = option(20.0, "Concentration α of the broadest round.", minimum=1e-3)
    narrowest: float = option(2000.0, "Concentration α of the narrowest round.", minimum=1e-3)
    paper_order: bool = option(False, "Whether the narrowest round is the first.")

    @property
    def requires(self) -> Requirements:
        """Influence of every domain, and of the planned mixtures, on every task."""
        return Requirements(
            fields=("influence",),
            cost="once a stage, what TiKMiX-D costs, and gradients of 0.1B tokens of each planned "
            "mixture, whose influence comes as a column of the mixture's name",
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed; the weights are the prior.

        Raises:
            InvalidInputError: LightGBM is not installed, or a domain is named like a candidate.
        """
        if importlib.util.find_spec("lightgbm") is None:
            raise InvalidInputError(
                "tikmix_m needs LightGBM: install mixwright[fit]", field="algorithm"
            )
        taken = [name for name in domains if name.startswith(_PREFIX)]
        if taken:
            raise InvalidInputError(
                f"domain '{taken[0]}': names that begin with '{_PREFIX}' are those of candidates",
                field="domains",
            )
        return State(domains, weights, seed, vectors={"prior": weights})

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return the mixtures whose influence to measure, by name."""
        names = sorted(state.domains)
        return {
            "mixtures": {
                name: dict(zip(names, mixture.tolist(), strict=True))
                for name, mixture in self._candidates(state).items()
            }
        }

    def update(self, state: State, observation: Observation) -> Update:
        """Solve for TiKMiX-D's weights, and search from there, with domains in order of name."""
        told = told_influence(state, observation)
        if isinstance(told, str):
            return Update(state, told)
        order = np.argsort(state.domains)
        influence = Influence(told.tasks, told.values[:, order]).helped()
        solver = TiKMiXD(self.alpha, self.beta, self.gamma)
        begun = solver.solve(influence, state.vectors["prior"][order])
        mixtures, values = self._pairs(state, observation, influence)
        found, search = self._search(begun, mixtures, values, (state.seed, state.updates))
        weights = found[np.argsort(order)]
        return Update(
            state.after(observation, weights),
            diagnostics={
                **influence_diagnostics(told, weights, state.vectors["prior"]),
                "pairs": len(values),
                "search": search,
                "tikmix_d": dict(zip(sorted(state.domains), begun.tolist(), strict=True)),
            },
        )

    def _candidates(self, state: State) -> dict[str, FloatArray]:
        """Return mixtures `(k,)` to measure by name, domains in order of name."""
        prior = state.vectors["prior"][np.argsort(state.domains)]
        rng = np.random.default_rng([state.seed % 2**64, state.updates, 0])
        drawn = around(prior, self.candidates, rng)
        return {f"{_PREFIX}{state.updates}/{i}": mixture for i, mixture in enumerate(drawn)}

    def _pairs(
        self, state: State, observation: Observation, influence: Influence
    ) -> tuple[FloatArray, FloatArray]:
        """Return measured candidates `(n, k)` and what they are worth `(n,)`."""
        planned = self._candidates(state)
        mixtures = np.array(list(planned.values())).reshape(-1, len(state.domains))
        table = observation.tables["influence"]
        measured = table.arranged(influence.tasks, tuple(planned))  # (tasks, candidates)
        worth = (measured / influence.divisors()).sum(axis=0)
        valid = np.isfinite(worth)
        return mixtures[valid], worth[valid]

    def _search(
        self, begun: FloatArray, mixtures: FloatArray, values: FloatArray, key: tuple[int, int]
    ) -> tuple[FloatArray, str]:
        """Return the weights `(k,)`, and how they came about."""
        if len(values) < _FEWEST_PAIRS:
            return begun, f"fewer than {_FEWEST_PAIRS} candidates were measured"
        if np.ptp(values) <= 1e-12 * np.abs(values).max():
            return begun, "all candidates are worth the same"
        import lightgbm

        trees = lightgbm.train(_TREES, lightgbm.Dataset(mixtures, values), _NUM_TREES)
        rng, best = np.random.default_rng([key[0] % 2**64, key[1], 1]), begun
        for concentration in self.concentrations():
            parameters = np.maximum(concentration * best, _SMALLEST_PARAMETER)
            drawn = rng.dirichlet(parameters, self.samples)
            best = top_mean(drawn, np.asarray(trees.predict(drawn)), self.top_k)
        return best / best.sum(), "done"

    def concentrations(self) -> FloatArray:
        """Return α of every round, shape `(rounds,)`."""
        rising = np.geomspace(self.broadest, self.narrowest, self.rounds)
        return rising[::-1] if self.paper_order else rising

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return the prior by name, 0 for new domains; it starts afresh if nothing is left."""
        return remapped_prior(state, new, origin)


def around(prior: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Return up to `count` mixtures `(n, k)` by Latin hypercubes between half and twice the prior.

    Mixtures that leave those bounds once they sum to 1 are rejected; with very many domains fewer
    than `count` may be left.
    """
    low, high = _NARROWEST * prior, np.minimum(_WIDEST * prior, 1.0)
    kept: list[FloatArray] = []
    for _ in range(_ROUNDS_OF_CANDIDATES):
        if not count or sum(map(len, kept)) >= count:
            break
        strata = rng.permuted(np.tile(np.arange(count), (len(prior), 1)), axis=1).T
        drawn = low + (strata + rng.random(strata.shape)) / count * (high - low)
        drawn /= drawn.sum(axis=1, keepdims=True)
        kept.append(drawn[((drawn >= low) & (drawn <= high)).all(axis=1)])
    return np.vstack([np.empty((0, len(prior))), *kept])[:count]


def top_mean(mixtures: FloatArray, scores: FloatArray, count: int) -> FloatArray:
    """Return the mean `(k,)` of the `count` mixtures with the highest scores; of equals, the first.

    Args:
        mixtures: shape `(n, k)`.
        scores: shape `(n,)`.
        count: how many.
    """
    best = np.argsort(-scores, kind="stable")[:count]
    mean: FloatArray = mixtures[best].mean(axis=0)
    return mean
