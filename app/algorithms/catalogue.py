"""What a user is told of the algorithms whose code has no options of its own to describe.

A test makes sure that every method and every design of the numeric core is here.
"""

from typing import Any, Final

from pydantic import BaseModel

from app.algorithms.schemas import AlgorithmRead
from app.recommendations.schemas import RecommendationCreate, SelectedTokens
from app.studies.schemas import SpaceSchema
from app.suggestions.schemas import BayesoptOptions, Options

_REGMIX = "RegMix (Liu et al., arXiv:2407.01492)"
_OLMIX = "olmix (github.com/allenai/olmix)"


def _options(*names: str, of: type[BaseModel] = RecommendationCreate) -> dict[str, Any]:
    """Return the JSON schema of those fields of a request, by default for a recommendation."""
    fields = of.model_json_schema()["properties"]
    return {
        "type": "object",
        "properties": {name: fields[name] for name in names},
        "additionalProperties": False,
    }


_BUDGET: Final = {"selected_tokens": SelectedTokens.model_json_schema()}
_QUADMIX = "QuaDMix (Liu et al., arXiv:2504.16511)"
_META_RATER = "Meta-rater (Zhuang et al., arXiv:2504.14194)"


def _with(options: dict[str, Any], further: dict[str, Any]) -> dict[str, Any]:
    return {**options, "properties": {**options["properties"], **further}}


RECOMMENDERS: Final = (
    AlgorithmRead(
        name="evolve",
        kind="recommender",
        title="Evolve QuaDMix's parameters from those that were tried, under a token budget",
        options=_with(_options(), _BUDGET),
        source="Mixwright's own; budgets as in Deb, An efficient constraint handling method for "
        "genetic algorithms, 2000",
        evidence="interpretation",
        departures=[],
    ),
    AlgorithmRead(
        name="regmix",
        kind="recommender",
        title="Simulate mixtures and average the best of them",
        options=_with(_options("candidates", "top_k"), _BUDGET),
        source=f"{_REGMIX} and its notebook",
        evidence="exact",
        departures=[
            "candidates lie inside the study's constraints",
            "the mean is predicted again, and a warning says if it is worse than what it averages",
            "domains are drawn in the order of their names, so that their order does not matter",
            "in other spaces than that of mixtures, candidates are the space's own draws",
            "under a token budget, draws outside it are left out",
        ],
    ),
    AlgorithmRead(
        name="exact",
        kind="recommender",
        title="Minimise the predicted objective itself, near the prior if asked",
        options=_options("kl_to_prior"),
        source=f"{_OLMIX}, its exact proposer",
        evidence="exact",
        departures=[
            "any differentiable surrogate will do; one start where the objective is convex",
            "projected Newton steps instead of a conic solver",
            "shadow prices say what each active constraint costs",
        ],
    ),
    AlgorithmRead(
        name="pool",
        kind="recommender",
        title="Rank given mixtures and choose the best that is feasible",
        options=_options("pool"),
        source="Mixwright's own",
        evidence="interpretation",
        departures=[],
    ),
    AlgorithmRead(
        name="best_observed",
        kind="recommender",
        title="The best mixture that was actually trained",
        options=_options(),
        source=f"{_OLMIX}, its search proposer",
        evidence="exact",
        departures=[
            "runs of one fidelity are compared: the target's if it has any, else of the one with "
            "the most",
        ],
    ),
)

SPACES: Final = (
    AlgorithmRead(
        name="mixture",
        kind="space",
        title="Shares of domains",
        options=_options("kind", of=SpaceSchema),
        source=_REGMIX,
        evidence="exact",
        departures=[],
    ),
    AlgorithmRead(
        name="meta_rater",
        kind="space",
        title="Weights of quality raters",
        options=_options("kind", "raters", "lower_is_better", "normalisation", of=SpaceSchema),
        source=_META_RATER,
        evidence="exact",
        departures=["100,000 candidates by default, not a million"],
    ),
    AlgorithmRead(
        name="quadmix",
        kind="space",
        title="Quality and diversity of every domain",
        options=_options(
            "kind",
            "raters",
            "lower_is_better",
            "normalisation",
            "steepness",
            "limits",
            of=SpaceSchema,
        ),
        source=_QUADMIX,
        evidence="exact",
        departures=[
            "surrogates see every number beside what is left of its limit, all on one simplex",
            "numbers have twelve significant digits",
        ],
    ),
)

DESIGNS: Final = (
    AlgorithmRead(
        name="sampler",
        kind="swarm_design",
        title="Draws of QuaDMix's parameters",
        options=_options("seed"),
        source=f"{_QUADMIX}, algorithm 1",
        evidence="exact",
        departures=["λ is uniform up to its limit; `steepness` log is the other reading"],
    ),
    AlgorithmRead(
        name="dirichlet",
        kind="swarm_design",
        title="Dirichlet draws around the tempered prior, from sparse to even",
        options=_options("seed"),
        source=f"{_REGMIX} and its script synthesize_mixture.py",
        evidence="exact",
        departures=[
            "candidates outside the study's constraints are rejected; Markov chains draw the rest",
            "rounding serves the largest remainders first, so that weights sum to exactly 1",
            "weights of raters are drawn from Dirichlet(1, ..., 1), as Meta-rater draws them",
        ],
    ),
    AlgorithmRead(
        name="space_filling",
        kind="swarm_design",
        title="Each mixture the farthest from all before it",
        options=_options("seed"),
        source="Kennard and Stone, Computer aided design of experiments, Technometrics 11(1), 1969",
        evidence="recalled",
        departures=["candidates are uniform inside the study's constraints"],
    ),
)

OPTIMISERS: Final = (
    AlgorithmRead(
        name="climb",
        kind="optimiser",
        title="Rounds of runs, each drawn from those that are predicted best",
        options=_options("rounds", of=Options),
        source="CLIMB (Diao et al., arXiv:2504.13161)",
        evidence="secondary",
        departures=[
            "candidates lie inside the study's constraints",
            "how many candidates and how large an elite is open in the source: 10,000, and four "
            "for each run",
        ],
    ),
    AlgorithmRead(
        name="bayesopt",
        kind="optimiser",
        title="Choose mixture and fidelity of the next run by what it teaches about the target",
        options=BayesoptOptions.model_json_schema(),
        source="The problem is ADMIRE-BayesOpt's (arXiv:2508.11551); the knowledge gradient is "
        "Frazier, Powell and Dayanik's (2009)",
        evidence="interpretation",
        departures=[
            "the kernel acts on the square roots of shares, and correlation, scale, mean and noise "
            "of each fidelity are learned",
            "a target run is compared with as many cheaper runs as it would pay for, not a run "
            "with a run",
            "it recommends the best posterior mean at the target, not the most informative mixture",
            "runs below the target never cost more than the target runs and one more",
        ],
    ),
)
