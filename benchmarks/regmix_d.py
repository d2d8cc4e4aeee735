"""RegMix-D against one mixture throughout, on made-up curves whose best mixture is known.

The target loss of a training that has come to p (0 to 1, in the logarithm of tokens) is

    L = 3.5 - 1.5 p + 0.3 mean_j exp(c (b_j(p) - w_j)),

lowest at w = b(p), the planted mixture, which moves along a line of the simplex. Proxies are noisy;
a training in progress may learn faster or slower than they did. What surrogates and fits there are
was chosen on seeds from 1000 on, which are not among those here.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from benchmarks.tables import Section, machine, versions
from mixwright.constraints import compile_constraints
from mixwright.model import MixtureModel
from mixwright.recommend import recommend
from mixwright.reweighting.base import Observation
from mixwright.reweighting.regmix_d import RegMixD, stages_of
from mixwright.schedules.regmix_d import OPTIONS
from mixwright.schedules.stage_models import pooled_models, separate_models
from mixwright.schedules.trajectories import LossCurve, Trajectories
from mixwright.study import CompletedRuns, Domain, Fidelity, Metric, Study
from mixwright.surrogates import build_surrogate

DOMAINS = ("books", "code", "math", "web")
SEEDS, PROXIES, ENDS = range(40), 128, (0.25, 0.5, 0.75, 1.0)
SHARPNESS, NOISE = 3.0, 0.01  # c; standard deviation of a proxy's loss, in nats
FIRST, LAST = 1 / 16, 1.0  # tokens at p = 0 and p = 1, of a whole training
STEPS = 100  # observations of a training in progress
PACES = (0.5, 1.0, 2.0)
TARGET = "target"
FITS = (("lightgbm", "separate"), ("lightgbm", "pooled"), ("gp", "separate"), ("gp", "pooled"))
CANDIDATES, BEST = 10_000, 13  # a tenth of what is simulated and averaged by default


@dataclass(frozen=True)
class World:
    """Two ends of the path of best mixtures, `(k,)` each."""

    first: np.ndarray
    last: np.ndarray

    @classmethod
    def drawn(cls, rng):
        """Ends far apart, with shares of 0.05 at least."""
        ends = 0.05 + 0.8 * rng.dirichlet(np.ones(len(DOMAINS)), 2)
        return cls(*ends)

    def best(self, progress):
        """The planted mixture."""
        return (1 - progress) * self.first + progress * self.last

    def loss(self, mixture, progress):
        """Of mixtures `(…, k)`."""
        terms = np.exp(SHARPNESS * (self.best(progress) - mixture))
        return 3.5 - 1.5 * progress + 0.3 * terms.mean(axis=-1)

    def regret(self, mixture, progress):
        """By how much the loss is above the lowest, in nats."""
        return self.loss(mixture, progress) - self.loss(self.best(progress), progress)


def progress_at(tokens):
    """From 0 to 1 in the logarithm of tokens."""
    return np.clip(np.log(tokens / FIRST) / np.log(LAST / FIRST), 0, 1)


def proxies(world, rng, shared):
    """Runs with curves; `shared` is the part of the noise's variance that a run's points share."""
    mixtures = rng.dirichlet(np.ones(len(DOMAINS)), PROXIES)
    tokens, ids = np.geomspace(FIRST, LAST, 17), tuple(map(str, range(PROXIES)))
    losses = np.array([[world.loss(w, progress_at(one)) for one in tokens] for w in mixtures])
    losses += NOISE * np.sqrt(1 - shared) * rng.normal(size=losses.shape)
    losses += NOISE * np.sqrt(shared) * rng.normal(size=(PROXIES, 1))
    curves = {name: LossCurve(tokens, row[:, None]) for name, row in zip(ids, losses, strict=True)}
    runs = CompletedRuns(mixtures, losses[:, -1:], np.full(PROXIES, "proxy"), ids)
    return Trajectories(study_of(), runs, curves, dict.fromkeys(ids, LAST))


def study_of():
    """One target loss, even weights before."""
    share = 1 / len(DOMAINS)
    return Study(
        tuple(Domain(name, None, share) for name in DOMAINS),
        (Metric(TARGET),),
        np.ones(1),
        (Fidelity("proxy"),),
        "proxy",
    )


def fitted(study, runs, surrogate, seed):
    """A model without the cross-validation that its intervals would need."""
    found = build_surrogate(surrogate, OPTIONS.get(surrogate, {})).fit(
        runs.mixtures, runs.values, seed
    )
    count = len(study.metrics)
    return MixtureModel(
        surrogate,
        found,
        np.arange(count),
        runs.mixtures,
        study.objective,
        study.signs,
        np.ones(count),
        1.0,
    )


def planned(given, surrogate, fits, seed):
    """Mixtures of the stages and the losses predicted for them, and one for the mean of stages."""

    def fit(study, runs):
        return fitted(study, runs, surrogate, seed)

    def best(model):
        return recommend(
            model.study,
            compile_constraints(model.study),
            model.model,
            model.runs,
            method="regmix",
            candidates=CANDIDATES,
            top_k=BEST,
            seed=seed,
        ).weights

    stages = [given.at(share) for share in ENDS]
    if fits == "pooled":
        models = pooled_models(given.study, stages, ENDS, fit)
    else:
        models = separate_models(given.study, stages, fit)
    mixtures = np.array([best(one) for one in models])
    predicted = np.array([one.losses(w) for one, w in zip(models, mixtures, strict=True)])
    mean = replace(stages[-1], values=np.mean([one.values for one in stages], axis=0))
    return mixtures, predicted, best(separate_models(given.study, [mean], fit)[0])


def exact(world, seed):
    """What would be chosen by the loss itself, and for the mean of the stages."""
    drawn = np.random.default_rng(seed).dirichlet(
        np.full(len(DOMAINS), 1 / len(DOMAINS)), CANDIDATES
    )
    losses = np.column_stack([world.loss(drawn, progress_at(end)) for end in ENDS])
    losses = np.column_stack([losses, losses.mean(axis=1)])
    *mixtures, mean = [drawn[np.argsort(column)[:BEST]].mean(axis=0) for column in losses.T]
    return np.array(mixtures), mean


def by_stage(world, mixtures, mean):
    """Regret at the end of each stage: of its own mixture, the last one, that of the mean."""
    return np.array(
        [
            [world.regret(one, progress_at(end)) for one in (mixture, mixtures[-1], mean)]
            for mixture, end in zip(mixtures, ENDS, strict=True)
        ]
    )


def in_progress(world, mixtures, predicted, pace, rng):
    """Mean regret over a training's tokens: by losses, by tokens, and static."""
    online = RegMixD(tuple(stages_of(DOMAINS, [TARGET], mixtures, predicted)))
    state = online.init(DOMAINS, np.full(len(DOMAINS), 1 / len(DOMAINS)), 0)
    total = np.zeros(3)
    for step in range(1, STEPS + 1):
        progress = progress_at(pace * step / STEPS)
        loss = world.loss(state.weights, progress) + 5 * NOISE * rng.normal()
        state = online.update(state, Observation(step, scores={TARGET: loss})).state
        by_tokens = mixtures[np.searchsorted(ENDS, step / STEPS)]
        total += [world.regret(one, progress) for one in (state.weights, by_tokens, mixtures[-1])]
    return total / STEPS


def interval(gains):
    """The mean, with the half-width of its 95 % interval by Student's t."""
    from scipy.stats import t

    half = t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    return f"{gains.mean():+.4f} ± {half:.4f}"


def measured(surrogate, fits, shared):
    """Regrets by stage, `(seeds, stages, 3)`, and in progress, `(seeds, paces, 3)`."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(partial(measured_once, surrogate, fits, shared), SEEDS))
    stages, online = zip(*found, strict=True)
    return np.array(stages), np.array(online)


def measured_once(surrogate, fits, shared, seed):
    """The same of one seed."""
    rng = np.random.default_rng(seed)
    world = World.drawn(rng)
    mixtures, predicted, mean = planned(proxies(world, rng, shared), surrogate, fits, seed)
    running = [in_progress(world, mixtures, predicted, pace, rng) for pace in PACES]
    return by_stage(world, mixtures, mean), np.array(running)


def without_fits():
    """Regrets by stage of what the loss itself would choose, `(seeds, stages, 3)`."""
    found = []
    for seed in SEEDS:
        world = World.drawn(np.random.default_rng(seed))
        found.append(by_stage(world, *exact(world, seed)))
    return np.array(found)


def rows_of_stages(name, found):
    """A row for each stage, and their mean."""
    named = [(f"{end:.0%}", found[:, place]) for place, end in enumerate(ENDS)]
    return [
        (
            name,
            stage,
            *(f"{column:.4f}" for column in one.mean(axis=0)),
            interval(one[:, 1] - one[:, 0]),
            interval(one[:, 2] - one[:, 0]),
        )
        for stage, one in [*named, ("**mean**", found.mean(axis=1))]
    ]


def rows_in_progress(name, found):
    """A row for each pace."""
    return [
        (
            name,
            f"{pace:g}×",
            *(f"{one:.4f}" for one in found[:, place].mean(axis=0)),
            interval(found[:, place, 2] - found[:, place, 0]),
            interval(found[:, place, 1] - found[:, place, 0]),
        )
        for place, pace in enumerate(PACES)
    ]


STAGES = ("fit", "end of stage", "RegMix-D", "last", "mean", "gain on last", "gain on mean")


def sections():
    """The sections of docs/benchmarks.md."""
    began = sum(os.times()[:4])
    stages, online, shared = rows_of_stages("the loss itself", without_fits()), [], []
    for surrogate, fits in FITS:
        by_end, running = measured(surrogate, fits, 0.0)
        stages += rows_of_stages(f"`{surrogate}`, {fits}", by_end)
        online += rows_in_progress(f"`{surrogate}`, {fits}", running)
    for surrogate, fits in FITS[2:]:
        shared += rows_of_stages(f"`{surrogate}`, {fits}", measured(surrogate, fits, 0.5)[0])
    spent = sum(os.times()[:4]) - began
    return [
        Section(
            "RegMix-D on made-up curves",
            f"{PROXIES} proxies with noise of {NOISE} nats, {len(DOMAINS)} domains, {len(SEEDS)} "
            "seeds, each with a path of best mixtures of its own. Regret is in nats; gains have "
            "95 % intervals. Two static mixtures: that of the last losses, as RegMix has it (at "
            "the end it is RegMix-D's own), and that of the mean of the stages' losses, by the "
            "same surrogate. `lightgbm`, separate, is the paper's; `gp`, pooled, is the default. "
            "The loss itself is what no fit can beat: what it gains is what the drift leaves to "
            "be gained, and its regret is that of averaging the best simulated mixtures. Goal: "
            "gains clear of zero in every stage but the last.",
            STAGES,
            stages,
        ),
        Section(
            "RegMix-D where noise is shared",
            "The same, where half of the noise's variance is one offset for all points of a run.",
            STAGES,
            shared,
        ),
        Section(
            "RegMix-D in a training that is faster or slower than its proxies",
            f"The same plans, over {STEPS} observations with {5 * NOISE} nats of noise. Pace 2× "
            "gets with half of the tokens as far as proxies did. `regmix_d` chooses the stage by "
            "losses, a schedule by tokens.",
            ("fit", "pace", "by losses", "by tokens", "static", "gain on static",
             "gain on tokens"),
            online,
            f"{spent:.0f} s of the processor. Machine: {machine()}; "
            f"{versions('numpy', 'lightgbm')}.",
        ),
    ]  # fmt: skip
