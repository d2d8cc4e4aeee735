"""What is trained in the measurement of schedules: every planner, and the same data without it.

A schedule's control has its rates and batch sizes, and in every stage the data of all of them. A
cell is a schedule in a world, all seeds side by side; it is kept in `var/` once it is measured.
"""

import dataclasses
import functools
import json
from itertools import pairwise

from benchmarks.schedule_worlds import BATCH, FOLDER, MODEL, order_of, train, world
from mixwright.schedules import Budget, Problem, Schedule, Stage, build_planner
from mixwright.schedules.curves import Curve
from mixwright.schedules.quantiles import weighted_quantiles

SEEDS = tuple(range(8))
CONTEXT, STEPS = MODEL["context"], 500
PEAK, LOW_PEAK = 0.02, 0.001  # the second: what limits is how far the training comes
BUDGET = Budget(STEPS * BATCH * CONTEXT, CONTEXT, BATCH * CONTEXT, PEAK)
LATE, WARMUP = 0.2, 0.04  # shares of the tokens: of good data, and of the warm-up
EVERYTHING = {"where": []}


def planned(here, name, budget=BUDGET, weights=None, **options):
    """A planner's schedule in a world."""
    problem = Problem(budget, weights or here.natural, {}, documents=here.documents)
    return build_planner(name, options).plan(problem)


def mixed(schedule):
    """The control: the data of all stages in each of them."""
    if any(stage.weights is None for stage in schedule.stages):
        data = {"weights": None, "selection": EVERYTHING}
    else:
        data = {"weights": schedule.effective_weights, "selection": None}
    stages = tuple(dataclasses.replace(stage, **data) for stage in schedule.stages)
    return dataclasses.replace(schedule, stages=stages)


def at_one_batch(schedule):
    """The same data at the budget's batch throughout."""
    batch = Curve.constant(schedule.budget.batch_tokens, schedule.budget.tokens)
    stages = tuple(dataclasses.replace(stage, batch=batch) for stage in schedule.stages)
    return dataclasses.replace(schedule, stages=stages)


def warmed(schedule):
    """The same with a warm-up of the rate, cut from the first stage."""
    first, *others = schedule.stages
    end = schedule.budget.border(WARMUP)
    rises = Curve(0.0, end, 0.0, first.rate.at(end), "warmup")
    before = dataclasses.replace(first, name="warm-up", end_token=end, rate=rises)
    after = dataclasses.replace(first, start_token=end)
    return dataclasses.replace(schedule, stages=(before, after, *others))


def halves(here, column, high_first, value=None):
    """Two stages, split at the median of a column."""
    documents = here.documents
    values = documents.columns[column] if value is None else value
    limit = float(weighted_quantiles(values, documents.tokens, [0.5])[0])
    sides = [{"column": column, "above": limit}, {"column": column, "up_to": limit}]
    borders = (0.0, BUDGET.border(0.5), BUDGET.tokens)
    parts = zip(sides if high_first else sides[::-1], pairwise(borders), strict=True)
    return Schedule(
        BUDGET,
        tuple(
            Stage(
                f"half {index}",
                *interval,
                Curve.constant(BUDGET.batch_tokens, BUDGET.tokens),
                Curve.constant(PEAK, BUDGET.tokens),
                selection={"where": [condition]},
            )
            for index, (condition, interval) in enumerate(parts)
        ),
    )


def orders(here):
    """Perplexity and its difference in two halves, and FRAMES' four quadrants."""
    columns = here.documents.columns
    difference = 1 - columns["perplexity_strong"] / columns["perplexity_weak"]
    name = "1 - perplexity_strong / perplexity_weak"
    return {
        "high PPL, low PPL": halves(here, "perplexity_strong", True),
        "low PPL, high PPL": halves(here, "perplexity_strong", False),
        "low PD, high PD": halves(here, name, False, difference),
        "high PD, low PD": halves(here, name, True, difference),
        "frames": planned(here, "frames"),
        "frames, reversed": planned(here, "frames", reverse=True),
    }


def curricula(here):
    """Ascending quality and random order, each at three rates."""
    found = {}
    for rate in ("averaging", "moderate", "decay"):
        ascending = planned(here, "quality_curriculum", buckets=5, rate=rate)
        found[f"ascending, {rate}"] = ascending
        found[f"random, {rate}"] = mixed(ascending)
    return found


def late(here):
    """Good data late and mixed in: at a constant rate, and as two planners have it."""
    annealed = planned(here, "anneal", share=LATE, anneal_weights=here.good_weights)
    rates = Curve.constant(PEAK, BUDGET.tokens)
    constant = dataclasses.replace(
        annealed,
        stages=tuple(dataclasses.replace(stage, rate=rates) for stage in annealed.stages),
    )
    upsampled = planned(here, "upsample_end", share=LATE, final_weights=here.good_weights)
    found = {"anneal": annealed, "late, constant": constant, "upsample_end": upsampled}
    return {**found, **{f"{name}, mixed": mixed(one) for name, one in found.items()}}


def drops(here):
    """A batch that drops as the good data begins, where noise limits and where signal does."""
    low = dataclasses.replace(BUDGET, peak_learning_rate=LOW_PEAK)
    options = {"share": LATE, "good_weights": here.good_weights}
    noise = planned(here, "drop_stable_rampup", **options)
    signal = planned(here, "drop_stable_rampup", low, **options)
    return {
        "drop_stable_rampup, noise": noise,
        "drop_stable_rampup, signal": signal,
        "one batch, signal": at_one_batch(signal),
        "one batch, signal, mixed": mixed(at_one_batch(signal)),
    }


def continued(here):
    """Half of the tokens on other domains, the rest on good ones with more or less replay."""
    old = {name: share for name, share in here.natural.items() if name not in here.good}
    weights = {name: old.get(name, 0.0) / sum(old.values()) for name in here.domains}
    border = BUDGET.border(0.5)
    budget = dataclasses.replace(BUDGET, tokens=border)
    before = planned(here, "static", budget, weights).stages
    found = {}
    for share in (0.5, 1.0):
        options = {"new_weights": here.good_weights, "share": share}
        after = planned(here, "continual", budget, weights, **options).stages
        moved = [
            dataclasses.replace(
                stage,
                start_token=stage.start_token + border,
                end_token=stage.end_token + border,
                batch=stage.batch.moved(border),
                rate=stage.rate.moved(border),
            )
            for stage in after
        ]
        found[f"continual, {share:.0%} new"] = Schedule(BUDGET, (*before, *moved))
    return found


@functools.cache
def schedules(name):
    """Every schedule of a world, by name."""
    here = world(name)
    kinds = [orders, curricula, late, drops, *([continued] if len(here.domains) > 2 else [])]
    found = {}
    for kind in kinds:
        found |= kind(here)
    return {title: warmed(one) for title, one in found.items()}


def cell(job):
    """Losses of a schedule in a world, by seed: last and averaged; measured once."""
    name, title, seeds = job
    place = FOLDER / "cells" / f"{name} {title} {seeds[0]}.json".replace(",", "")
    if place.exists():
        return json.loads(place.read_text())
    here, schedule = world(name), schedules(name)[title]
    runs = [
        {"id": f"seed-{seed}", "seed": seed, "stream": 0, "learning_rate": None}
        | {"schedule": schedule.to_json()}
        for seed in seeds
    ]
    order = order_of(here.store, runs, MODEL, BUDGET.tokens)
    results = train(order, here.store, place.with_suffix(""))
    found = {
        "metrics": [result.metrics for result in results],
        "last": [result.last_metrics or result.metrics for result in results],
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(found))
    return found
