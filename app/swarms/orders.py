"""What a worker is told to train; `workers.order` reads it."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.db.models import GroupRow, SwarmRow
from app.runs.repository import StoredRun
from app.studies.spaces import Points, named
from app.swarms import scheduled
from app.swarms.planning import SWEEP


def group_order(
    swarm: SwarmRow,
    group: GroupRow,
    members: Sequence[StoredRun],
    study: dict[str, Any],
    corpus: dict[str, Any],
) -> dict[str, Any]:
    """Return the order of a group: the same whenever and by whomever it is claimed.

    Args:
        swarm: what was asked.
        group: which part of it.
        members: its runs; none in a sweep.
        study: the definition of the study.
        corpus: the definition of the corpus.
    """
    trainer = swarm.request["trainer"]
    domains = [domain["name"] for domain in study["domains"]]
    points, is_sweep = Points(study), group.purpose == "sweep"
    rate = swarm.learning_rate or float(swarm.request["step_law"])
    sweep = _sweep(points, trainer, rate) if is_sweep else []
    schedules = {} if is_sweep else scheduled.orders_of(swarm, rate)
    order = {
        "group": group.id,
        "corpus": {"uri": corpus["uri"], "digest": corpus["digest"]},
        "domains": domains,
        "runs": sweep or [_run(points, run, schedules) for run in members],
        "model": trainer["model"],
        "optimizer": {**trainer["optimizer"], "learning_rate": rate},
        "tokens": trainer["tokens"],
        "sampling": _sampling(trainer, corpus, domains),
        "evaluation": trainer["evaluation"],
        "width": len(sweep) or trainer["width"],
        "compile": trainer["compile"],
        "keep": trainer.get("keep", False) and not is_sweep,
    }
    return order if points.is_mixture else {**order, "space": study["space"]}


def _run(points: Points, run: StoredRun, schedules: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    seed, name = run["run_metadata"]["seed"], run["run_metadata"].get("schedule")
    return {
        "id": run["id"],
        **({"schedule": schedules[name]} if name in schedules else _point(points, run["weights"])),
        "seed": seed,
        "stream": run["run_metadata"]["replicate"],
        "learning_rate": None,
    }


def _point(points: Points, weights: Mapping[str, float]) -> dict[str, Any]:
    return {name: value for name, value in points.shown(weights).items() if value is not None}


def _sweep(points: Points, trainer: dict[str, Any], rate: float) -> list[dict[str, Any]]:
    """Return what to try rates on: the study's prior, which is the middle of its space."""
    middle = _point(points, named(points.study, points.study.prior))
    return [
        {
            "id": f"sweep-{index}",
            **middle,
            "seed": trainer["seed"],
            "stream": 0,
            "learning_rate": factor * rate,
        }
        for index, factor in enumerate(SWEEP)
    ]


def _sampling(
    trainer: dict[str, Any], corpus: dict[str, Any], domains: Sequence[str]
) -> dict[str, Any]:
    """Return how to draw; pools shrink by the ratio of the proxy's tokens to the target's."""
    sampling = trainer["sampling"]
    target = sampling.get("target_tokens")
    pools = None
    if target is not None:
        tokens = {shard["name"]: shard["train_tokens"] for shard in corpus["domains"]}
        share = min(1.0, trainer["tokens"] / target)
        pools = {name: max(1, round(tokens[name] * share)) for name in domains}
    return {
        "mode": sampling["mode"],
        "max_epochs": sampling.get("max_epochs"),
        "pool_tokens": pools,
        **{name: sampling[name] for name in ("budget_tokens",) if name in sampling},
    }
