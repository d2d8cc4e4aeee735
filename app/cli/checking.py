"""Checks a recommendation by training on it, and on what it is to be better than."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from app.cli.swarming import follow
from app.cli.terminal import Answer
from mixwright_client.client import Client

SEEDS = 3
FIRST_SEED = 1000  # none that a proxy was trained with
_WIDTH = 6  # so that two processors share the twelve


def check_by_training(
    client: Client,
    answer: Answer,
    study: str,
    fidelity: str,
    found: dict[str, Any],
    trainer: dict[str, Any],
) -> list[dict[str, Any]]:
    """Train the recommendation, the prior, uniform and the best observed with new seeds.

    Returns:
        per mixture the objective with each seed, the recommendation first.
    """
    named = {"recommended": found["weights"]}
    named |= {name: item["weights"] for name, item in found["baselines"].items() if item}
    swarm = {
        "fidelity": fidelity,
        "design": {"kind": "given", "mixtures": list(named.values())},
        "trainer": {**trainer, "replicates": SEEDS, "seed": FIRST_SEED, "width": _WIDTH},
    }
    started = client.post(f"/v1/studies/{study}/swarms", swarm)
    follow(client, answer, started["id"], "models to check")
    objective = client.get(f"/v1/studies/{study}")["objective"]
    ended = [
        run
        for run in client.pages(f"/v1/studies/{study}/runs")
        if run["metadata"].get("swarm") == started["id"] and run["state"] == "succeeded"
    ]
    return [
        {"mixture": name, "losses": _losses(ended, index, objective)}
        for index, name in enumerate(named)
    ]


def _losses(runs: Iterable[Any], mixture: int, objective: Mapping[str, float]) -> list[float]:
    """Return a mixture's objective with each seed, in their order."""
    by_seed = {
        run["metadata"]["seed"]: sum(w * run["metrics"][name] for name, w in objective.items())
        for run in runs
        if run["metadata"]["mixture"] == mixture
    }
    return [by_seed[seed] for seed in sorted(by_seed)]


def verdict(checked: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compare the recommendation with every other mixture, seed by seed.

    Mixtures share seeds, and with them initial weights and the order of draws, so the standard
    error is that of the differences.

    Returns:
        per other mixture: its name, the mean gain over it, the standard error of that, and whether
        the gain exceeds two of them.
    """
    ours, *others = checked
    return [_compare(ours, other) for other in others]


def _compare(ours: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    gains = np.subtract(other["losses"], ours["losses"])
    gain, error = float(gains.mean()), float(gains.std(ddof=1) / len(gains) ** 0.5)
    return {
        "over": other["mixture"],
        "gain": gain,
        "standard_error": error,
        "is_better": gain > 2 * error,
        "is_worse": gain < -2 * error,
    }


def sentence(comparison: Mapping[str, Any]) -> str:
    """Say what a comparison shows."""
    name = str(comparison["over"]).replace("_", " ")
    by = f"{abs(comparison['gain']):.4f} ± {comparison['standard_error']:.4f} nats per byte"
    if comparison["is_better"]:
        return f"Better than {name} by {by}."
    if comparison["is_worse"]:
        return f"Worse than {name} by {by}: training does not bear the recommendation out."
    return f"No clear difference from {name}: {by}, less than two standard errors."
