"""RegMix-D against one mixture throughout, on made-up curves whose best mixture is known.

The target loss of a training that has come to p (0 to 1, in the logarithm of tokens) is

    L = 3.5 - 1.5 p + 0.3 mean_j exp(c (b_j(p) - w_j)),

lowest at w = b(p), the planted mixture, which moves along a line of the simplex. Proxies are noisy;
a training in progress may learn faster or slower than they did.
"""

import time
from dataclasses import dataclass

import numpy as np

from benchmarks.tables import Section, machine, versions
from mixwright.constraints import compile_constraints
from mixwright.fitting import fit_study
from mixwright.recommend import recommend
from mixwright.reweighting.base import Observation
from mixwright.reweighting.regmix_d import RegMixD, stages_of
from mixwright.schedules.regmix_d import LossCurve, stage_mixtures
from mixwright.study import CompletedRuns, Domain, Fidelity, Metric, Study

DOMAINS = ("books", "code", "math", "web")
SEEDS, PROXIES, ENDS = range(20), 128, (0.25, 0.5, 0.75, 1.0)
SHARPNESS, NOISE = 3.0, 0.01  # c; standard deviation of a proxy's loss, in nats
FIRST, LAST = 1 / 16, 1.0  # tokens at p = 0 and p = 1, of a whole training
STEPS = 100  # observations of a training in progress
PACES = (0.5, 1.0, 2.0)
TARGET = "target"
SURROGATES = ("lightgbm", "auto")


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
        """Of a mixture `(k,)`."""
        terms = np.exp(SHARPNESS * (self.best(progress) - mixture))
        return 3.5 - 1.5 * progress + 0.3 * terms.mean()

    def regret(self, mixture, progress):
        """By how much the loss is above the lowest, in nats."""
        return self.loss(mixture, progress) - self.loss(self.best(progress), progress)


def progress_at(tokens):
    """From 0 to 1 in the logarithm of tokens."""
    return np.clip(np.log(tokens / FIRST) / np.log(LAST / FIRST), 0, 1)


def proxies(world, rng):
    """Runs, their curves and their ends."""
    mixtures = rng.dirichlet(np.ones(len(DOMAINS)), PROXIES)
    tokens = np.geomspace(FIRST, LAST, 17)
    curves, last = {}, []
    for name, mixture in enumerate(mixtures):
        losses = np.array([[world.loss(mixture, progress_at(one))] for one in tokens])
        losses += NOISE * rng.normal(size=losses.shape)
        curves[str(name)] = LossCurve(tokens, losses)
        last.append(losses[-1])
    ids = tuple(curves)
    runs = CompletedRuns(mixtures, np.array(last), np.full(PROXIES, "proxy"), ids)
    return runs, curves, dict.fromkeys(ids, LAST)


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


def planned(world, rng, surrogate, seed):
    """Mixtures of the stages, the losses predicted for them, and the static mixture."""
    study, predicted = study_of(), []
    runs, curves, ends = proxies(world, rng)

    def choose(part):
        model, _ = fit_study(study, part, surrogate=surrogate, seed=seed)
        found = recommend(
            study, compile_constraints(study), model, part, method="regmix", seed=seed
        )
        predicted.append(model.predict(found.weights[None]).mean[0])
        return found.weights

    mixtures, _ = stage_mixtures(runs, curves, ends, ENDS, choose)
    return mixtures, np.array(predicted)


def by_stage(world, mixtures):
    """Regret at the end of each stage: of its own mixture, and of the last one throughout."""
    return np.array(
        [
            [world.regret(one, progress_at(end)) for one in (mixture, mixtures[-1])]
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


def measured(surrogate):
    """Regrets by stage, `(seeds, stages, 2)`, and in progress, `(seeds, paces, 3)`."""
    stages, online = [], []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        world = World.drawn(rng)
        mixtures, predicted = planned(world, rng, surrogate, seed)
        stages.append(by_stage(world, mixtures))
        online.append([in_progress(world, mixtures, predicted, pace, rng) for pace in PACES])
    return np.array(stages), np.array(online)


def rows_of_stages(surrogate, found):
    """A row for each stage, and their mean."""
    named = [(f"{end:.0%}", found[:, place]) for place, end in enumerate(ENDS)]
    return [
        (
            f"`{surrogate}`",
            name,
            f"{one[:, 0].mean():.4f}",
            f"{one[:, 1].mean():.4f}",
            interval(one[:, 1] - one[:, 0]),
        )
        for name, one in [*named, ("**mean**", found.mean(axis=1))]
    ]


def rows_in_progress(surrogate, found):
    """A row for each pace."""
    return [
        (
            f"`{surrogate}`",
            f"{pace:g}×",
            *(f"{one:.4f}" for one in found[:, place].mean(axis=0)),
            interval(found[:, place, 2] - found[:, place, 0]),
            interval(found[:, place, 1] - found[:, place, 0]),
        )
        for place, pace in enumerate(PACES)
    ]


def sections():
    """The sections of docs/benchmarks.md."""
    began, stages, online = time.process_time(), [], []
    for surrogate in SURROGATES:
        by_end, running = measured(surrogate)
        stages += rows_of_stages(surrogate, by_end)
        online += rows_in_progress(surrogate, running)
    spent = time.process_time() - began
    about = (
        f"{PROXIES} proxies with noise of {NOISE} nats, {len(DOMAINS)} domains, {len(SEEDS)} "
        "seeds, each with a path of best mixtures of its own. Regret is in nats; gains have 95 % "
        "intervals."
    )
    return [
        Section(
            "RegMix-D on made-up curves",
            f"{about} The static mixture is that of the last losses, as RegMix has it: at the end "
            "both are the same. Goal: a gain over all stages, clear of zero.",
            ("surrogate", "end of stage", "RegMix-D", "static", "gain"),
            stages,
        ),
        Section(
            "RegMix-D in a training that is faster or slower than its proxies",
            f"The same plans, over {STEPS} observations with {5 * NOISE} nats of noise. Pace 2× "
            "gets with half of the tokens as far as proxies did. `regmix_d` chooses the stage by "
            "losses, a schedule by tokens.",
            ("surrogate", "pace", "by losses", "by tokens", "static", "gain on static",
             "gain on tokens"),
            online,
            f"{spent:.0f} s of the processor. Machine: {machine()}; "
            f"{versions('numpy', 'lightgbm')}.",
        ),
    ]  # fmt: skip
