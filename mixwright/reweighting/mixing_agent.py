"""A mixing agent of our own, after an idea: moves that logged trainings rewarded.

An interpretation, not the published method, whose formulas we have not found. A value function Q
is learned, offline and conservatively, from logged trainings: mixtures and the scores after each.
It is linear in numbers that are shared by all domains, so it holds for other domains too. At
every stage the candidates are the present mixture, moves of it toward each domain, and mixtures
from the log; the next mixture is their mean, weighted by a softmax of Q.

    minimise over θ, the mean over logged moves of
    α [log Σ_a exp Q(s, a) - Q(s, logged)] + ½ (Q(s, logged) - r - γ max_a Q(s', a))²

The reward r is the weighted change of scores over a stage, in standard deviations of the log.

Source:
    Idea: "Data Mixing Agent: Learning to Re-weight Domains for Continual Pre-training",
    arXiv:2507.15640 (2ND). Loss: Kumar et al., "Conservative Q-Learning for Offline Reinforcement
    Learning", arXiv:2006.04779. Grade of evidence: INTERP.

Departures:
    Everything but that structure is ours: the features, the linear Q, its fit by repeated convex
    problems, no supervised warm start. A score that is missing is carried forward.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from mixwright.arrays import BoolArray, FloatArray
from mixwright.errors import InvalidInputError, NotOnSimplexError
from mixwright.options import by_name, option, sequences
from mixwright.reweighting.base import (
    Json,
    Observation,
    Requirements,
    State,
    Update,
    remapped,
)
from mixwright.reweighting.exponentiated import smoothed, softmax
from mixwright.simplex import normalise

Numbers = Mapping[str, float]
_FIELD = "options/trajectories"
_MOST_LOGGED = 32  # mixtures of the log that are candidates
_SWEEPS = 20  # of fitted Q iteration
_RIDGE = 1e-3  # on θ, of standardised features
_BENEFIT_RIDGE = 0.1  # on what each domain is worth


@dataclass(frozen=True, slots=True)
class MixingAgent:
    """Options of the mixing agent."""

    trajectories: tuple[tuple[Mapping[str, Numbers], ...], ...] = sequences(
        "Logged trainings: of each, its stages' mixtures and the scores after them.",
        ("mixture", "scores"),
    )
    score_weights: Mapping[str, float] | None = by_name(
        "ω, what each score counts, below 0 where lower is better; all count 1 if not given."
    )
    conservatism: float = option(1.0, "α, against moves that were not logged.", minimum=0.0)
    discount: float = option(0.9, "γ, what the next stage counts.", minimum=0.0, maximum=0.999)
    temperature: float = option(0.25, "Of the softmax over candidates.", minimum=1e-6)
    move: float = option(0.2, "ρ, how far candidates go toward a domain.", minimum=0.0, maximum=1.0)
    history: int = option(4, "H, stages that are looked back on.", minimum=1, maximum=1000)
    smoothing: float = option(
        0.03, "ε, the share that is spread evenly by every update.", minimum=0.0, maximum=1.0
    )

    @property
    def requires(self) -> Requirements:
        """Scores of the benchmarks that were logged."""
        return Requirements(
            fields=("scores",),
            cost="an evaluation of the benchmarks once a stage; before, logged trainings of "
            "small models",
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed, with what the log teaches.

        Raises:
            InvalidInputError: the log teaches nothing, or a mixture or a score of it is wrong.
        """
        policy = self._learn() if self.trajectories else None
        memory: dict[str, Json] = {"policy": policy, "scores": {}, "first": None, "stages": []}
        return State(domains, weights, seed, memory=memory)

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return the names of the scores to measure."""
        policy = state.memory["policy"]
        return {} if policy is None else {"scores": sorted(policy["score_weights"])}

    def update(self, state: State, observation: Observation) -> Update:
        """Move to the mean of the candidates, weighted by a softmax of what they are worth."""
        policy = state.memory["policy"]
        if policy is None:
            return Update(state, "the agent was given no trajectories to learn from")
        scores = told_scores(state.memory, observation)
        if isinstance(scores, str):
            return Update(state, scores)
        used = state.weights if observation.sampled is None else observation.sampled
        memory = self._remembered(state, used, scores)
        situation = _situation(state, memory)
        actions = candidates(used, self.move, _logged(policy, state.domains))
        values = features(situation, actions) @ np.array(policy["theta"])
        weights = next_mixture(actions, values, self.temperature, self.smoothing)
        return Update(
            state.after(observation, weights, memory=memory),
            diagnostics={
                "lowest_value": float(values.min()),
                "highest_value": float(values.max()),
                "best_candidate": _named(state.domains, actions[int(values.argmax())]),
            },
        )

    def _remembered(self, state: State, used: FloatArray, scores: Numbers) -> dict[str, Json]:
        """Return the memory with a stage more."""
        utility = _utility(scores, state.memory["policy"]["score_weights"])
        stage = {"mixture": _named(state.domains, used), "utility": utility}
        return {
            "scores": dict(scores),
            "first": utility if state.memory["first"] is None else state.memory["first"],
            "stages": [*state.memory["stages"], stage][-(self.history + 1) :],
        }

    def _learn(self) -> dict[str, Json]:
        """Return the policy as JSON: θ, what domains are worth, and candidates from the log."""
        log = read_log(self.trajectories, self.score_weights)
        benefit = domain_benefits(log)
        logged = _spread(np.unique(np.vstack(log.mixtures), axis=0), _MOST_LOGGED)
        moves = self._moves(log, benefit, logged)
        theta = learn(moves, self.conservatism, self.discount)
        return {
            "theta": theta.tolist(),
            "benefit": _named(log.domains, benefit),
            "score_weights": dict(log.score_weights),
            "horizon": log.horizon,
            "actions": [_named(log.domains, one) for one in logged],
        }

    def _moves(self, log: "Log", benefit: FloatArray, logged: FloatArray) -> "Moves":
        """Return every move of the log beside the other candidates."""
        rows, rewards, is_last = [], [], []
        for mixtures, utilities in zip(log.mixtures, log.utilities, strict=True):
            for t in range(len(mixtures) - 1):
                recent = slice(max(t - self.history, 0), t + 1)
                level = utilities[t] - utilities[0]
                situation = Situation(
                    mixtures[recent], utilities[recent], level, t / log.horizon, benefit
                )
                others = candidates(mixtures[t], self.move, logged)
                rows.append(features(situation, np.vstack([mixtures[t + 1], others])))
                rewards.append(utilities[t + 1] - utilities[t])
                is_last.append(t + 2 == len(mixtures))
        return Moves(np.array(rows), np.array(rewards), np.array(is_last))

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return the new domains' state: the policy holds, its history starts afresh."""
        return remapped(state, new, origin)


@dataclass(frozen=True, slots=True)
class Log:
    """Logged trainings.

    Attributes:
        domains: names, length k, in order.
        mixtures: of each training, shape `(stages, k)`.
        utilities: of each training, shape `(stages,)`: weighted scores.
        score_weights: of the scores, such that gains of utility have a deviation of 1.
    """

    domains: tuple[str, ...]
    mixtures: tuple[FloatArray, ...]
    utilities: tuple[FloatArray, ...]
    score_weights: Numbers

    @property
    def horizon(self) -> int:
        """Stages of the longest training."""
        return max(map(len, self.mixtures))


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a training is.

    Attributes:
        mixtures: of the last stages, shape `(h, k)`.
        utilities: after them, shape `(h,)`.
        level: utility above that after the first stage.
        progress: from 0 to 1.
        benefit: what each domain is worth by the log, shape `(k,)`.
    """

    mixtures: FloatArray
    utilities: FloatArray
    level: float
    progress: float
    benefit: FloatArray


@dataclass(frozen=True, slots=True)
class Moves:
    """What was done in the log, and what might have been.

    Attributes:
        features: shape `(n, a, f)`: of every candidate in every situation, the logged one first.
        rewards: shape `(n,)`.
        is_last: shape `(n,)`, whether the training ended with it; else the next move follows.
    """

    features: FloatArray
    rewards: FloatArray
    is_last: BoolArray


def features(situation: Situation, actions: FloatArray) -> FloatArray:
    """Return what Q is linear in, shape `(a, 8)`, for actions `(a, k)`; no number is a domain's.

    Of the situation: 1, progress, level, last gain. Of the action: its worth by the log; the move
    along what paid off lately (past moves times the gains after them); the squares of the move and
    of the mixture.
    """
    moves = actions - situation.mixtures[-1]
    gains = np.diff(situation.utilities)
    credit = gains @ np.diff(situation.mixtures, axis=0)
    last = gains[-1] if len(gains) else 0.0
    common = np.array([1.0, situation.progress, situation.level, last])
    own = [actions @ situation.benefit, moves @ credit, (moves**2).sum(1), (actions**2).sum(1)]
    return np.column_stack([np.broadcast_to(common, (len(actions), 4)), *own])


def candidates(mixture: FloatArray, move: float, logged: FloatArray) -> FloatArray:
    """Return the mixture `(k,)`, it moved toward each domain, and logged ones `(l, k)`."""
    toward = (1.0 - move) * mixture + move * np.eye(len(mixture))
    return np.vstack([mixture, toward, logged])


def next_mixture(
    actions: FloatArray, values: FloatArray, temperature: float, smoothing: float
) -> FloatArray:
    """Return the mean `(k,)` of actions `(a, k)` by a softmax of values `(a,)`, smoothed."""
    mean: FloatArray = softmax(values / temperature) @ actions
    return smoothed(mean / mean.sum(), smoothing)


def conservative_losses(values: FloatArray, targets: FloatArray, conservatism: float) -> FloatArray:
    """Return the loss `(n,)` of values `(n, a)`, the logged action first, for targets `(n,)`."""
    logged = values[:, 0]
    conservative = conservatism * (logsumexp(values, axis=1) - logged)
    losses: FloatArray = conservative + 0.5 * (logged - targets) ** 2
    return losses


def learn(moves: Moves, conservatism: float, discount: float) -> FloatArray:
    """Return θ `(f,)` by fitted Q iteration, each sweep a convex problem.

    Raises:
        InvalidInputError: it grew without bounds.
    """
    scales = moves.features.std(axis=(0, 1))
    scales[scales < 1e-12] = 1.0
    scaled = moves.features / scales
    theta = np.zeros(len(scales))
    for _ in range(_SWEEPS):
        following = np.append((scaled[1:] @ theta).max(axis=1), 0.0)
        targets = moves.rewards + discount * np.where(moves.is_last, 0.0, following)
        theta = minimize(
            _objective, theta, (scaled, targets, conservatism), jac=True, method="L-BFGS-B"
        ).x
    if not np.isfinite(theta).all():
        raise InvalidInputError("learning from the trajectories diverged", field=_FIELD)
    return np.asarray(theta / scales)


def _objective(
    theta: FloatArray, scaled: FloatArray, targets: FloatArray, conservatism: float
) -> tuple[float, FloatArray]:
    """Return the mean loss with its penalty, and the gradient `(f,)`."""
    values = scaled @ theta
    total = conservative_losses(values, targets, conservatism).mean()
    weights = np.exp(values - logsumexp(values, axis=1, keepdims=True))
    average = np.einsum("na,naf->nf", weights, scaled)
    errors = (values[:, 0] - targets)[:, None]
    slopes = conservatism * (average - scaled[:, 0]) + errors * scaled[:, 0]
    return float(total + _RIDGE / 2 * theta @ theta), slopes.mean(axis=0) + _RIDGE * theta


def read_log(
    trajectories: Sequence[Sequence[Mapping[str, Numbers]]], score_weights: Numbers | None
) -> Log:
    """Return logged trainings as arrays; a domain that a mixture does not name has none of it.

    Raises:
        InvalidInputError: a mixture is not on the simplex, a score is missing from the start of a
            training, or the weighted scores never change.
    """
    domains = tuple(sorted({name for one in trajectories for s in one for name in s["mixture"]}))
    if score_weights is None:
        score_weights = {name: 1.0 for one in trajectories for s in one for name in s["scores"]}
    told = [one for one in trajectories if one]
    try:
        mixtures = [
            normalise(np.array([[s["mixture"].get(d, 0.0) for d in domains] for s in one]), domains)
            for one in told
        ]
    except NotOnSimplexError as error:
        raise InvalidInputError(f"option 'trajectories': {error}", field=_FIELD) from error
    raw = [_utilities(one, score_weights) for one in told]
    gains = np.concatenate([np.empty(0), *map(np.diff, raw)])
    deviation = gains.std() if len(gains) else 0.0
    if not deviation > 0:
        raise InvalidInputError(
            "option 'trajectories': nothing to learn from, as scores change by the same amount "
            "from every stage to the next, or there is no next",
            field=_FIELD,
        )
    weights = {name: float(weight / deviation) for name, weight in score_weights.items()}
    return Log(domains, tuple(mixtures), tuple(one / deviation for one in raw), weights)


def domain_benefits(log: Log) -> FloatArray:
    """Return what a share of each domain is worth, shape `(k,)`: ridge regression of gains."""
    shares = np.vstack([one[1:] for one in log.mixtures])
    gains = np.concatenate([np.diff(one) for one in log.utilities])
    centred = shares - shares.mean(axis=0)
    gram = centred.T @ centred + _BENEFIT_RIDGE * np.eye(shares.shape[1])
    benefits: FloatArray = np.linalg.solve(gram, centred.T @ (gains - gains.mean()))
    return benefits


def told_scores(memory: Mapping[str, Json], observation: Observation) -> Numbers | str:
    """Return the scores that the policy knows, the last where one is missing, or what is wrong."""
    names = memory["policy"]["score_weights"]
    told = {name: observation.scores[name] for name in names if name in observation.scores}
    if not told:
        return f"it has no scores of {', '.join(sorted(names))}"
    if not np.isfinite(list(told.values())).all():
        return "scores are not finite"
    scores = {**memory["scores"], **told}
    lacking = sorted(set(names) - set(scores))
    return f"score {lacking[0]} was never told" if lacking else scores


def _utilities(stages: Sequence[Mapping[str, Numbers]], weights: Numbers) -> FloatArray:
    """Return weighted scores after every stage, each score the last one that was logged."""
    scores: dict[str, float] = {}
    utilities = []
    for stage in stages:
        scores.update(stage["scores"])
        lacking = sorted(set(weights) - set(scores))
        if lacking:
            raise InvalidInputError(
                f"option 'trajectories': the first stage of a training has no score {lacking[0]}",
                field=_FIELD,
            )
        utilities.append(_utility(scores, weights))
    return np.array(utilities)


def _utility(scores: Numbers, weights: Numbers) -> float:
    return float(sum(weights[name] * scores[name] for name in sorted(weights)))


def _situation(state: State, memory: Mapping[str, Json]) -> Situation:
    """Return where a training is, from its memory."""
    policy, stages = state.memory["policy"], memory["stages"]
    known = policy["benefit"]
    mean = float(np.mean(list(known.values())))
    utilities = np.array([stage["utility"] for stage in stages])
    return Situation(
        np.array([[stage["mixture"][name] for name in state.domains] for stage in stages]),
        utilities,
        float(utilities[-1] - memory["first"]),
        min(state.updates / policy["horizon"], 1.0),
        np.array([known.get(name, mean) for name in state.domains]),
    )


def _logged(policy: Mapping[str, Json], domains: tuple[str, ...]) -> FloatArray:
    """Return mixtures of the log `(l, k)`; none where its domains are others."""
    if set(policy["benefit"]) != set(domains):
        return np.empty((0, len(domains)))
    return np.array([[one[name] for name in domains] for one in policy["actions"]])


def _spread(mixtures: FloatArray, most: int) -> FloatArray:
    """Return `most` of mixtures `(n, k)`, or all, evenly over their order."""
    count = min(most, len(mixtures))
    return mixtures[np.linspace(0, len(mixtures) - 1, count).astype(np.int64)]


def _named(domains: tuple[str, ...], values: FloatArray) -> dict[str, float]:
    return dict(zip(domains, values.tolist(), strict=True))
