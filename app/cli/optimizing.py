"""`mixwright optimize`: Bayesian optimisation in which our own workers train the proposals."""

from collections import Counter
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.swarming import follow
from app.cli.terminal import DEFAULT_URL, Answer, AsJson, Token, Url, connect, output, people
from mixwright_client.client import Client

_LEASE_SECONDS = 86_400.0  # until a swarm takes them over; then its group holds them


def optimize(
    study: Annotated[str, typer.Argument(help="Name or id of the study.")],
    corpus: Annotated[str, typer.Option(help="Name or id of a registered corpus.")],
    budget: Annotated[
        float, typer.Option(help="To spend now, in the unit of the fidelities' costs.")
    ],
    model: Annotated[str, typer.Option(help="65k, 1m, 15m, 30m or 60m.")] = "1m",
    learning_rate: Annotated[float, typer.Option(help="The same for every run.")] = 0.01,
    batch_sequences: Annotated[int, typer.Option(help="Sequences a step.")] = 8,
    at_once: Annotated[int, typer.Option(help="Proposals to train together.", min=1)] = 8,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Propose, train, learn, again and again; can be stopped and started again at any time."""
    client, answer = connect(url, token), Answer(as_json)
    costs = {one["name"]: one["cost"] for one in client.get(f"/v1/studies/{study}")["fidelities"]}
    if None in costs.values():
        nameless = ", ".join(name for name, cost in costs.items() if cost is None)
        raise typer.BadParameter(f"the study does not say what a run costs at: {nameless}")
    trainer = {
        "corpus": corpus,
        "model": {"preset": model},
        "optimizer": {"learning_rate": learning_rate, "batch_sequences": batch_sequences},
        "width": at_once,
    }
    spent, trained = 0.0, Counter[str]()
    found = _ask(client, study, at_once, seed)
    while found["items"]:
        affordable = _within(found["items"], costs, budget - spent)
        _give_back(client, found["items"][len(affordable) :])
        if not affordable:
            break
        _train(client, answer, study, affordable, trainer)
        spent += sum(costs[run["fidelity"]] for run in affordable)
        trained.update(run["fidelity"] for run in affordable)
        found = _ask(client, study, at_once, seed)
        _tell(found, spent, budget)
    result = {
        "recommendation": _ask(client, study, 0, seed)["recommendation"],
        "spent": spent,
        "runs": dict(trained),
    }
    answer.give(result, lambda: _show(result, study))


def _ask(client: Client, study: str, count: int, seed: int) -> Any:  # noqa: ANN401  - JSON
    asked = {
        "strategy": "bayesopt",
        "count": count,
        "seed": seed,
        "lease_seconds": _LEASE_SECONDS,
    }
    return client.post(f"/v1/studies/{study}/proposals", asked)


def _within(runs: list[Any], costs: dict[str, float], left: float) -> list[Any]:
    """Return the first runs that together cost no more than is left."""
    kept: list[Any] = []
    for run in runs:
        left -= costs[run["fidelity"]]
        if left < -1e-9:
            break
        kept.append(run)
    return kept


def _give_back(client: Client, runs: list[Any]) -> None:
    for run in runs:
        body = {"lease_token": run["lease"]["token"], "reason": "beyond this command's budget"}
        client.post(f"/v1/runs/{run['id']}/fail", body)


def _train(
    client: Client, answer: Answer, study: str, runs: list[Any], trainer: dict[str, Any]
) -> None:
    """Have the proposals trained, a swarm per fidelity, side by side."""
    swarms = []
    for fidelity in sorted({run["fidelity"] for run in runs}):
        ids = [run["id"] for run in runs if run["fidelity"] == fidelity]
        design = {"kind": "proposals", "runs": ids}
        body = {"fidelity": fidelity, "design": design, "trainer": trainer}
        started = client.post(f"/v1/studies/{study}/swarms", body)
        swarms.append((started["id"], f"proposals at '{fidelity}'"))
    for swarm, what in swarms:
        follow(client, answer, swarm, what)


def _tell(found: Any, spent: float, budget: float) -> None:  # noqa: ANN401  - JSON
    best, stopping = found["recommendation"], found["stopping"]
    objective = best["objective"]
    line = (
        f"spent {spent:g} of {budget:g}: expected objective {objective['mean']:.4f} "
        f"({objective['lower']:.4f} to {objective['upper']:.4f})"
    )
    gain = f"; a target run's cost may gain {stopping['expected_gain']:.2g}" if stopping else ""
    people.print(line + gain, soft_wrap=True)


def _show(result: dict[str, Any], study: str) -> None:
    best = result["recommendation"]
    table = Table("domain", title="Recommended mixture")
    table.add_column("weight", justify="right")
    for name, weight in sorted(best["weights"].items(), key=lambda item: -item[1]):
        table.add_row(name, f"{weight:.4f}")
    output.print(table)
    runs = ", ".join(f"{count} at {name}" for name, count in result["runs"].items())
    output.print(f"Spent {result['spent']:g}: {runs or 'nothing'}.")
    output.print(f"Next: mixwright recommend {study}")
