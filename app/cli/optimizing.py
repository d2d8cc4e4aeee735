"""`mixwright optimize`: Bayesian optimisation in which our own workers train the proposals."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.swarming import BudgetTokens, follow
from app.cli.terminal import (
    DEFAULT_URL,
    Answer,
    AsJson,
    Token,
    Url,
    connect,
    output,
    parameters_table,
    people,
)
from mixwright_client.client import Client

_LEASE_SECONDS = 86_400.0  # until a swarm takes them over; then its group holds them
_LARGEST = 5  # weights shown after each round
_ROUNDING = 1e-9
_COSTS = {"queued", "leased", "succeeded", "retracted"}


def optimize(
    study: Annotated[str, typer.Argument(help="Name or id of the study.")],
    corpus: Annotated[str, typer.Option(help="Name or id of a registered corpus.")],
    budget: Annotated[
        float, typer.Option(help="For all proposals of the study, in the unit of its costs.")
    ],
    model: Annotated[
        list[str],
        typer.Option(help="65k, 1m, 15m, 30m or 60m; FIDELITY=MODEL, again and again, for each."),
    ] = ["1m"],  # noqa: B006  - Typer's way; it is never changed
    learning_rate: Annotated[float, typer.Option(help="The same for every run.")] = 0.01,
    batch_sequences: Annotated[int, typer.Option(help="Sequences a step.")] = 8,
    budget_tokens: BudgetTokens = None,
    at_once: Annotated[int, typer.Option(help="Proposals to train together.", min=1)] = 4,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Propose, train, learn, again and again, until the budget is spent.

    It may be stopped at any time: what is under way goes on, and the same command goes on from
    there. Runs that were reported by others teach, and cost nothing here.
    """
    client, answer = connect(url, token), Answer(as_json)
    costs = _costs(client, study)
    trainer = {
        "corpus": corpus,
        "optimizer": {"learning_rate": learning_rate, "batch_sequences": batch_sequences},
        "sampling": {} if budget_tokens is None else {"budget_tokens": budget_tokens},
        "width": at_once,
    }
    models = _models(model, costs)
    try:
        _resume(client, answer, study, trainer, models)
        while runs := _next(client, study, costs, budget, at_once, seed):
            _train(client, answer, study, runs, trainer, models)
            _tell(client, study, costs, budget, seed)
    except KeyboardInterrupt:
        people.print("What is under way goes on; the same command goes on from here.")
        raise
    result = {
        "recommendation": _ask(client, study, 0, seed)["recommendation"],
        "spent": sum(_spent(client, study, costs).values()),
        "spent_by_fidelity": _spent(client, study, costs),
        "runs": _count(client, study),
    }
    answer.give(result, lambda: _show(result, study))


def _costs(client: Client, study: str) -> dict[str, float]:
    costs = {one["name"]: one["cost"] for one in client.get(f"/v1/studies/{study}")["fidelities"]}
    if None in costs.values():
        nameless = ", ".join(name for name, cost in costs.items() if cost is None)
        raise typer.BadParameter(f"the study does not say what a run costs at: {nameless}")
    return costs


def _models(given: list[str], costs: Mapping[str, float]) -> dict[str, str]:
    """Return the preset of each fidelity.

    Raises:
        BadParameter: an unknown fidelity, or one without a model.
    """
    pairs = [text.partition("=") for text in given]
    every = next((one for one, sign, _ in pairs if not sign), None)
    models = {name: preset for name, sign, preset in pairs if sign}
    if unknown := sorted(set(models) - set(costs)):
        raise typer.BadParameter(f"no fidelity '{unknown[0]}'; known: {', '.join(costs)}")
    if every is not None:
        models = dict.fromkeys(costs, every) | models
    if missing := sorted(set(costs) - set(models)):
        raise typer.BadParameter(f"which model at '{missing[0]}'? --model {missing[0]}=1m")
    return models


def _resume(
    client: Client,
    answer: Answer,
    study: str,
    trainer: dict[str, Any],
    models: Mapping[str, str],
) -> None:
    """Follow what an earlier command left under way, and train what it had only asked for."""
    for swarm in client.get(f"/v1/studies/{study}/swarms", limit=1000)["items"]:
        if swarm["design"]["kind"] == "proposals" and swarm["state"] in ("queued", "running"):
            follow(client, answer, swarm["id"], "proposals of an earlier command")
    held = [run for run in client.pages(f"/v1/studies/{study}/runs") if run["state"] == "leased"]
    orphans = [run for run in held if run["origin"] == "proposal" and run["group_id"] is None]
    if orphans:
        _train(client, answer, study, orphans, trainer, models)


def _next(
    client: Client, study: str, costs: Mapping[str, float], budget: float, count: int, seed: int
) -> list[Any]:
    """Return proposals that the budget pays for; what was leased beyond it is given back."""
    left = budget - sum(_spent(client, study, costs).values())
    if left + _ROUNDING < min(costs.values()):
        return []
    proposed = _ask(client, study, count, seed)["items"]
    kept = _within(proposed, costs, left)
    for run in proposed[len(kept) :]:
        body = {"lease_token": run["lease"]["token"], "reason": "beyond this command's budget"}
        client.post(f"/v1/runs/{run['id']}/fail", body)
    if proposed and not kept:  # the best next run is too dear: the cheapest one is not
        cheapest = min(costs, key=costs.__getitem__)
        kept = _within(_ask(client, study, 1, seed, cheapest)["items"], costs, left)
    return kept


def _ask(client: Client, study: str, count: int, seed: int, fidelity: str | None = None) -> Any:  # noqa: ANN401  - JSON
    asked = {
        "strategy": "bayesopt",
        "count": count,
        "seed": seed,
        "fidelity": fidelity,
        "lease_seconds": _LEASE_SECONDS,
        "wait": 60.0,
    }
    return client.post(f"/v1/studies/{study}/proposals", asked)


def _within(runs: list[Any], costs: Mapping[str, float], left: float) -> list[Any]:
    """Return the first runs that together cost no more than is left."""
    kept: list[Any] = []
    for run in runs:
        left -= costs[run["fidelity"]]
        if left < -_ROUNDING:
            break
        kept.append(run)
    return kept


def _train(
    client: Client,
    answer: Answer,
    study: str,
    runs: list[Any],
    trainer: dict[str, Any],
    models: Mapping[str, str],
) -> None:
    """Have the proposals trained, a swarm per fidelity, side by side."""
    swarms = []
    for fidelity in sorted({run["fidelity"] for run in runs}):
        ids = [run["id"] for run in runs if run["fidelity"] == fidelity]
        body = {
            "fidelity": fidelity,
            "design": {"kind": "proposals", "runs": ids},
            "trainer": {**trainer, "model": {"preset": models[fidelity]}},
        }
        started = client.post(f"/v1/studies/{study}/swarms", body)
        swarms.append((started["id"], f"proposals at '{fidelity}'"))
    for swarm, what in swarms:
        follow(client, answer, swarm, what)


def _proposed(client: Client, study: str) -> list[Any]:
    runs = client.pages(f"/v1/studies/{study}/runs")
    return [run for run in runs if run["origin"] == "proposal" and run["state"] in _COSTS]


def _spent(client: Client, study: str, costs: Mapping[str, float]) -> dict[str, float]:
    spent = dict.fromkeys(costs, 0.0)
    for run in _proposed(client, study):
        spent[run["fidelity"]] += costs[run["fidelity"]]
    return spent


def _count(client: Client, study: str) -> dict[str, int]:
    runs: dict[str, int] = {}
    for run in _proposed(client, study):
        runs[run["fidelity"]] = runs.get(run["fidelity"], 0) + 1
    return runs


def _tell(client: Client, study: str, costs: Mapping[str, float], budget: float, seed: int) -> None:
    """Show where the optimisation is: spend by fidelity, regret bound, recommendation."""
    found, spent = _ask(client, study, 0, seed), _spent(client, study, costs)
    best, stopping = found["recommendation"], found["stopping"]
    if best is None:
        return
    table = Table(title=f"spent {sum(spent.values()):g} of {budget:g}", title_justify="left")
    for title in (
        "by fidelity",
        "expected objective (90 %)",
        "regret (95 % bound)",
        "largest shares",
    ):
        table.add_column(title)
    objective, weights = best["objective"], best["weights"] or {}
    largest = sorted(weights, key=weights.__getitem__, reverse=True)[:_LARGEST]
    regret = stopping and stopping["regret"]
    table.add_row(
        "\n".join(f"{name} {cost:g}" for name, cost in spent.items()),
        f"{objective['mean']:.4f}\n{objective['lower']:.4f} – {objective['upper']:.4f}",
        f"{regret['mean']:.2g}\n≤ {regret['upper']:.2g}" if regret else "–",
        "\n".join(f"{name} {weights[name]:.3f}" for name in largest),
    )
    people.print(table)
    if stopping:
        people.print(stopping["sentence"], soft_wrap=True)


def _table(best: dict[str, Any]) -> Table:
    if best["weights"] is None:
        return parameters_table(best["parameters"])
    table = Table("domain", title="Recommended mixture")
    table.add_column("weight", justify="right")
    for name, weight in sorted(best["weights"].items(), key=lambda item: -item[1]):
        table.add_row(name, f"{weight:.4f}")
    return table


def _show(result: dict[str, Any], study: str) -> None:
    best = result["recommendation"]
    if best is None:
        output.print("No run has ended: there is nothing to recommend.")
        return
    output.print(_table(best))
    runs = ", ".join(
        f"{result['spent_by_fidelity'][name]:g} on {count} runs at '{name}'"
        for name, count in result["runs"].items()
    )
    output.print(f"Spent {result['spent']:g}: {runs or 'nothing'}.")
    output.print(f"Next: mixwright recommend {study}")
