"""Trainings that a reweighter steers, and what each has to be told and to have done beforehand.

A method turns a set of domains and seeds into trainings at their end. Each reweighter has its
defaults and is told of a training 19 times, in equal distances; options that count steps are the
same share of the training as in the runs they were published for.
"""

import numpy as np

from benchmarks import online_measures as measured
from benchmarks.online_blocks import lfr, mates
from benchmarks.online_steering import ROUND, ROUNDS, STAGE, Steered
from benchmarks.online_trainer import BATCH, STEPS, Training
from mixwright.reweighting.base import Table
from mixwright.reweighting.skill_it import graph_from_losses
from mixwright_client.sample_weights import sample_weights

LOGGED = 5  # trainings that the agent learns from
AIOLI_ROUNDS, PROBED = 4, 0.5  # of a round, as nearly as whole steps allow
BURN_IN = 0.1  # of the steps, of samples' weights
SHORT = STEPS // 10  # steps of a training on each domain alone, for Skill-It's graph
BEFOREHAND = 10_000  # added to seeds of trainings that others learn from


def kept(domains, seeds, weights):
    """Trainings at constant weights, (m,) or (K, m)."""
    training = Training(domains, seeds)
    training.weights = np.broadcast_to(weights, training.weights.shape)
    training.run(STEPS)
    return training


def reference(domains, seeds):
    """A training at even weights beforehand, and that it is one."""
    return kept(domains, [seed + BEFOREHAND for seed in seeds], domains.even), 1.0


def doremi(domains, seeds):
    known, cost = reference(domains, seeds)
    steered = Steered(domains, seeds, "doremi")
    steered.training.reference = {n: p.detach() for n, p in known.parameters.items()}
    return steered.follow(lambda t, _: {"vectors": {"excess_losses": t.means(excess=True)}}), cost


def shearing(domains, seeds):
    known, cost = reference(domains, seeds)
    targets = [
        dict(zip(domains.names, row.tolist(), strict=True)) for row in measured.losses(known)
    ]
    steered = Steered(domains, seeds, "shearing", lambda slot: {"target_losses": targets[slot]})
    return steered.follow(lambda t, _: {"vectors": {"losses": measured.losses(t)}}), cost


def skill_it(domains, seeds):
    count = len(domains.names)
    before = measured.losses(Training(domains, seeds))
    after = []
    for alone in np.eye(count):
        short = Training(domains, seeds, SHORT)
        short.weights = np.tile(alone, (len(seeds), 1))
        short.run(SHORT)
        after.append(measured.losses(short))

    def graph(slot):
        found = graph_from_losses(before[slot], np.array(after)[:, slot])
        rows = [dict(zip(domains.names, row, strict=True)) for row in found.tolist()]
        return {"graph": dict(zip(domains.names, rows, strict=True))}

    steered = Steered(domains, seeds, "skill_it", graph)
    found = steered.follow(lambda t, _: {"vectors": {"losses": measured.losses(t)}})
    return found, count * SHORT / STEPS


def odm(domains, seeds):
    steered = Steered(domains, seeds, "odm")
    return steered.follow(lambda t, _: {"vectors": {"rewards": t.means()}}), 0.0


def doge(domains, seeds):
    def observe(training, turn):
        return {
            "vectors": measured.doge(training, turn),
            "numbers": {"learning_rate": training.rate},
        }

    return Steered(domains, seeds, "doge").follow(observe), 0.0


def dga(domains, seeds):
    steered = Steered(domains, seeds, "dga")
    return steered.follow(lambda t, turn: {"vectors": measured.dga(t, turn)}), 0.0


def pike(domains, seeds):
    def observe(training, turn):
        numbers = {"batch_size": float(BATCH)}
        return {"vectors": measured.pike(training, turn), "numbers": numbers}

    return Steered(domains, seeds, "pike").follow(observe), 0.0


def aioli(variant):
    def steer(domains, seeds):
        steps = STEPS // AIOLI_ROUNDS
        probe = max(1, int(PROBED * steps / (4 * len(domains.names))))
        options = {"variant": variant, "round_steps": steps, "probe_steps": probe}
        steered = Steered(domains, seeds, "aioli", lambda _: options)
        for _ in range(AIOLI_ROUNDS):
            plans = steered.plans()
            steered.tell(tables={"probe_losses": probed(steered.training, plans)})
            steered.training.run(plans[0]["remaining_steps"])
        return steered.training, 0.0

    return steer


def probed(training, plans):
    """Train a round's probes; return the losses before and after each, a table per seed."""
    rows, found = [[plan["before"]] for plan in plans], [measured.losses(training)]
    for at in range(len(plans[0]["intervals"])):
        weights = []
        for plan, named in zip(plans, rows, strict=True):
            interval, mixtures = plan["intervals"][at], plan["mixtures"]
            weights.append(mixtures["values"][mixtures["rows"].index(interval["probe"])])
            named.append(interval["row"])
        training.run(plans[0]["probe_steps"], np.array(weights))
        found.append(measured.losses(training))
    values = np.array(found)  # (rows, K, m)
    names = training.domains.names
    return [Table(tuple(named), names, values[:, slot]) for slot, named in enumerate(rows)]


def parts_of_goal(domains):
    return ("goal",) if domains.has_target else domains.names


def tikmix_d(domains, seeds):
    def observe(training, turn):
        found, _ = measured.influence(training, turn)
        tasks = parts_of_goal(domains)
        return {"tables": {"influence": [Table(tasks, domains.names, one) for one in found]}}

    return Steered(domains, seeds, "tikmix_d").follow(observe, STAGE), 0.0


def tikmix_m(domains, seeds):
    steered = Steered(domains, seeds, "tikmix_m")

    def observe(training, turn):
        found, aims = measured.influence(training, turn)
        plans = [plan["mixtures"] for plan in steered.plans()]
        mixtures = np.array(
            [[[one[name] for name in domains.names] for one in plan.values()] for plan in plans]
        )
        more = measured.influence_of_mixtures(training, aims, mixtures, (seeds[0], turn))
        names = [(*domains.names, *plan) for plan in plans]
        both = np.concatenate([found, more], 2)
        tasks = parts_of_goal(domains)
        return {
            "tables": {"influence": [Table(tasks, n, v) for n, v in zip(names, both, strict=True)]}
        }

    return steered.follow(observe, STAGE), 0.0


def mixing_agent(domains, seeds):
    logged = [log(domains, [seed + BEFOREHAND * (i + 1) for seed in seeds]) for i in range(LOGGED)]
    steered = Steered(
        domains, seeds, "mixing_agent", lambda slot: {"trajectories": [one[slot] for one in logged]}
    )
    return steered.follow(lambda t, _: {"scores": -measured.goal(t)}), float(LOGGED)


def log(domains, seeds):
    """Trainings at weights drawn anew every round, as the agent reads them; one per seed."""
    training = Training(domains, seeds)
    draws = [np.random.default_rng((seed, 17)) for seed in seeds]
    found = [[] for _ in seeds]
    for _ in range(ROUNDS):
        training.weights = np.array([rng.dirichlet(np.ones(len(domains.names))) for rng in draws])
        training.run(ROUND)
        for one, weights, score in zip(
            found, training.weights, measured.goal(training), strict=True
        ):
            mixture = dict(zip(domains.names, weights.tolist(), strict=True))
            one.append({"mixture": mixture, "scores": {"goal": -float(score)}})
    return found


def loss_reweighting(domains, seeds):
    burn_in = int(BURN_IN * STEPS)
    steered = Steered(domains, seeds, "loss_reweighting", lambda _: {"burn_in_steps": burn_in})
    stages = steered.plans()[0]["stages"]

    def weigh(losses, step):
        now = [stage for stage in stages if stage["start_step"] <= step][-1]
        return sample_weights(losses, now["strategy"], now["delta"], now["temperature"]["end"])

    steered.training.weigh = weigh
    steered.training.run(STEPS)
    return steered.training, 0.0


METHODS = {
    "natural": lambda domains, seeds: (kept(domains, seeds, domains.natural), 0.0),
    "doremi": doremi,
    "doge": doge,
    "dga": dga,
    "shearing": shearing,
    "skill_it": skill_it,
    "odm": odm,
    "pike": pike,
    "aioli, exponentiated gradient": aioli("exponentiated_gradient"),
    "aioli, ema": aioli("ema"),
    "tikmix_d": tikmix_d,
    "tikmix_m": tikmix_m,
    "mixing_agent": mixing_agent,
    "lfr": lfr,
    "mates": mates,
    "loss_reweighting": loss_reweighting,
}
