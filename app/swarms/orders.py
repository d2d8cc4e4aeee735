"""What a worker is told to train; `workers.order` reads it."""

from collections.abc import Sequence
from typing import Any

from app.db.models import GroupRow, SwarmRow
from app.runs.repository import StoredRun
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
    is_sweep = group.purpose == "sweep"
    rate = swarm.learning_rate or float(swarm.request["step_law"])
    sweep = _sweep(study, trainer, rate) if is_sweep else []
    return {
        "group": group.id,
        "corpus": {"uri": corpus["uri"], "digest": corpus["digest"]},
        "domains": domains,
        "runs": sweep or [_run(run) for run in members],
        "model": trainer["model"],
        "optimizer": {**trainer["optimizer"], "learning_rate": rate},
        "tokens": trainer["tokens"],
        "sampling": _sampling(trainer, corpus, domains),
        "evaluation": trainer["evaluation"],
        "width": len(sweep) or trainer["width"],
        "compile": trainer["compile"],
    }


def _run(run: StoredRun) -> dict[str, Any]:
    seed = run["run_metadata"]["seed"]
    return {
        "id": run["id"],
        "weights": run["weights"],
        "seed": seed,
        "stream": run["run_metadata"]["replicate"],
        "learning_rate": None,
    }


def _sweep(study: dict[str, Any], trainer: dict[str, Any], rate: float) -> list[dict[str, Any]]:
    prior = {domain["name"]: domain["prior"] for domain in study["domains"]}
    return [
        {
            "id": f"sweep-{index}",
            "weights": prior,
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
    }
