"""What a trained group tells the server about its runs."""

from typing import Any

import torch

from workers.order import GroupOrder
from workers.results import RunResult


def as_result(result: RunResult, known: set[str]) -> dict[str, Any]:
    """Return how a run ended, as it is reported. Only metrics in `known` are sent."""
    if result.state != "succeeded":
        return {"run": result.run_id, "reason": result.reason}
    return {
        "run": result.run_id,
        "metrics": only(result.metrics, known),
        "realised_tokens": {name: float(n) for name, n in result.realised_tokens.items()},
        "metadata": {
            "standard_errors": only(result.standard_errors, known),
            "epochs": result.epochs,
            **({"selected_tokens": result.selected_tokens} if result.selected_tokens else {}),
            **({"last_metrics": only(result.last_metrics, known)} if result.last_metrics else {}),
            **({"kept": result.kept} if result.kept else {}),
            "device": result.device,
            "torch": torch.__version__,
            "width": result.width,
        },
    }


def only(metrics: dict[str, float], known: set[str]) -> dict[str, float]:
    """Return the metrics that are in `known`."""
    return {name: value for name, value in metrics.items() if name in known}


def known_points(points: list[dict[str, Any]], known: set[str]) -> list[dict[str, Any]]:
    """Return points of loss curves with the metrics that are in `known`."""
    return [{**point, "metrics": only(point["metrics"], known)} for point in points]


def best_rate(order: GroupOrder, results: list[RunResult]) -> float | None:
    """Return the learning rate of a sweep whose mean loss over domains is lowest, if any ended."""
    rates = {run.id: run.learning_rate for run in order.runs}
    ended = [result for result in results if result.state == "succeeded"]
    if not ended:
        return None
    best = min(ended, key=lambda result: _mean_loss(result.metrics))
    return rates[best.run_id]


def _mean_loss(metrics: dict[str, float]) -> float:
    losses = [value for name, value in metrics.items() if name.startswith("loss/")]
    return sum(losses) / len(losses)
