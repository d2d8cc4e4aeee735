"""Reweighters with their defaults on made-up trainings: do they beat even and natural weights?

A training has 20 rounds. After each a reweighter is told what its trainer would send, with noise,
and its weights hold for the next round. The mean loss over domains at the end is compared with
that of even weights on the same world; worlds, and so differences, are paired.
"""

from dataclasses import replace

import numpy as np
from scipy.stats import t as student

from benchmarks.online_worlds import FAMILIES, NOISE, ROUNDS, draw, tell
from benchmarks.tables import Section, machine, versions
from mixwright.reweighting import REWEIGHTERS, build_reweighter
from mixwright.reweighting.base import Table
from mixwright.reweighting.skill_it import graph_from_losses

WORLDS = 40
FLOOR = 1e-4  # as the service mixes in on output
STEPS = 250  # of the optimiser in a round
PROBED = 0.5  # of a round, by Aioli
STAGE = 5  # rounds, of TiKMiX
LOGGED = 5  # trainings that the agent learns from
ENTRIES = {
    "natural": None,
    "optimum": None,
    "doremi": ("doremi", {}),
    "doge": ("doge", {}),
    "dga": ("dga", {}),
    "shearing": ("shearing", {}),
    "skill_it": ("skill_it", {}),
    "odm": ("odm", {}),
    "pike": ("pike", {}),
    "aioli, exponentiated gradient": ("aioli", {}),
    "aioli, ema": ("aioli", {"variant": "ema"}),
    "tikmix_d": ("tikmix_d", {}),
    "mixing_agent": ("mixing_agent", {}),
}


def needed(name, world, rng):
    """Options without a default: what a team would have measured beforehand."""
    zero, names = np.zeros(len(world.names)), world.names
    if name == "shearing":
        reference = world.losses(world.natural)
        return {"target_losses": dict(zip(names, reference.tolist(), strict=True))}
    if name == "skill_it":
        alone = [world.losses(row / ROUNDS) for row in np.eye(len(names))]
        graph = graph_from_losses(np.tile(world.losses(zero), (len(names), 1)), np.array(alone))
        rows = (dict(zip(names, row, strict=True)) for row in graph.tolist())
        return {"graph": dict(zip(names, rows, strict=True))}
    if name == "mixing_agent":
        return {"trajectories": [logged(world, rng) for _ in range(LOGGED)]}
    if name == "aioli":
        return {"sweeps": 2, "probe_steps": max(1, int(PROBED * STEPS / (2 * len(names))))}
    return {}


def logged(world, rng):
    """A training at weights drawn anew every round, as the agent reads it."""
    tokens, stages = np.zeros(len(world.names)), []
    for mixture in rng.dirichlet(np.ones(len(world.names)), ROUNDS):
        tokens = tokens + mixture / ROUNDS
        score = -float(world.losses(tokens).mean()) + NOISE * rng.standard_normal()
        named = dict(zip(world.names, mixture.tolist(), strict=True))
        stages.append({"mixture": named, "scores": {"mean": score}})
    return stages


def probe(world, tokens, plan, rng):
    """Train a round's probes; return the tokens after them and the losses by row."""
    rows, mixtures = [plan["before"]], plan["mixtures"]
    told = [world.losses(tokens) + NOISE * rng.standard_normal(len(tokens))]
    for one in plan["intervals"]:
        mixture = np.array(mixtures["values"][mixtures["rows"].index(one["probe"])])
        tokens = tokens + mixture * plan["probe_steps"] / (STEPS * ROUNDS)
        rows.append(one["row"])
        told.append(world.losses(tokens) + NOISE * rng.standard_normal(len(tokens)))
    return tokens, Table(tuple(rows), world.names, np.array(told))


def train(entry, world, seed):
    """The mean loss at the end of a training that a reweighter steers."""
    name, options = ENTRIES[entry]
    rng = np.random.default_rng((seed, 17))
    reweighter = build_reweighter(name, {**needed(name, world, rng), **options})
    state = reweighter.init(world.names, world.even, seed)
    tokens, weights = np.zeros(len(world.names)), state.weights
    for turn in range(ROUNDS):
        plan = reweighter.plan(state) if name == "aioli" else {}
        if plan:
            tokens, table = probe(world, tokens, plan, rng)
            observation = tell(world, tokens, STEPS * turn + 1, weights, rng)
            state = reweighter.update(
                state, replace(observation, tables={"probe_losses": table})
            ).state
            share = plan["remaining_steps"] / STEPS
        else:
            share = 1.0
            if turn and (name != "tikmix_d" or turn % STAGE == 0):
                told = tell(world, tokens, STEPS * turn, weights, rng)
                state = reweighter.update(state, told).state
        weights = (1.0 - FLOOR) * state.weights + FLOOR / len(tokens)
        tokens = tokens + share * weights / ROUNDS
    return float(world.losses(tokens).mean())


def final(entry, world, seed):
    """The mean loss at the end."""
    if entry == "natural":
        return world.final(world.natural)
    return world.final(world.best()) if entry == "optimum" else train(entry, world, seed)


def differences(entry, family):
    """Nats against even weights, one per world; negative is better."""
    worlds = [draw(family, seed) for seed in range(WORLDS)]
    return np.array([final(entry, w, seed) - w.final(w.even) for seed, w in enumerate(worlds)])


def in_words(values):
    """Mean with its 95 % interval, the worst, and how many were better than even weights."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    wins = int(np.sum(values < -1e-6))
    return f"{values.mean():+.4f} ± {half:.4f} ({values.max():+.3f}, {wins})"


def sections():
    """The sections of docs/benchmarks.md."""
    rows = [[entry, *(in_words(differences(entry, f)) for f in FAMILIES)] for entry in ENTRIES]
    left_out = sorted(set(REWEIGHTERS) - {one[0] for one in ENTRIES.values() if one})
    words = (
        f"{WORLDS} worlds a family, of 2, 3, 5 and 7 domains, {ROUNDS} rounds, losses measured "
        f"with {NOISE} nats of independent noise, gradients with a fifth. Every reweighter has its "
        "defaults, tuned for nothing; Aioli probes each domain twice in half of every round, "
        "TiKMiX-D is asked every fifth round, Skill-It's graph, shearing's targets and the "
        "agent's five logged trainings come from the same world beforehand. A cell is the mean "
        "difference in mean final loss from even weights, in nats, its 95 % interval over worlds, "
        "the worst difference, and in how many of the worlds it was better. "
    )
    notes = (
        f"Not here: {', '.join(left_out)}, which keep these weights, act on blocks or samples, or "
        f"need measured mixtures.\n\n{machine()}; {versions('numpy', 'scipy')}."
    )
    return [Section("Reweighters on made-up trainings", words, ["", *FAMILIES], rows, notes)]
