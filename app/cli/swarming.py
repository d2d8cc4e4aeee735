"""`mixwright swarm`: have our workers train proxies, and follow them."""

from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.terminal import DEFAULT_URL, Answer, AsJson, Token, Url, connect, output, people
from mixwright_client.client import Client, ProblemError

BudgetTokens = Annotated[
    float | None,
    typer.Option(help="Of the documents that a proxy is trained on; Meta-rater needs it."),
]
_ENDED = {"succeeded", "failed", "cancelled"}


def swarm(
    study: Annotated[str, typer.Argument(help="Name or id of the study.")],
    corpus: Annotated[str, typer.Option(help="Name or id of a registered corpus.")],
    fidelity: Annotated[str, typer.Option(help="Of the study; gives the number of tokens.")],
    count: Annotated[int, typer.Option(help="Mixtures, or parameters, to train.")] = 64,
    design: Annotated[
        str | None,
        typer.Option(help="dirichlet, sampler or space_filling; by default the space's."),
    ] = None,
    model: Annotated[str, typer.Option(help="65k, 1m, 15m, 30m or 60m.")] = "1m",
    tokens: Annotated[
        int | None, typer.Option(help="Per proxy; by default the fidelity's.")
    ] = None,
    learning_rate: Annotated[
        str, typer.Option(help="A number, step_law, or sweep (tries four).")
    ] = "step_law",
    batch_sequences: Annotated[
        int | None, typer.Option(help="Sequences a step; by default the step law's.")
    ] = None,
    budget_tokens: BudgetTokens = None,
    replicates: Annotated[int, typer.Option(help="Seeds per mixture.")] = 1,
    width: Annotated[int, typer.Option(help="Proxies trained together on one device.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the design.")] = 0,
    detach: Annotated[bool, typer.Option(help="Do not wait for the end.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Train a swarm of proxies and store what they show as runs of the study."""
    client, answer = connect(url, token), Answer(as_json)
    optimizer: dict[str, Any] = {"learning_rate": _rate(learning_rate)}
    trainer = {
        "corpus": corpus,
        "model": {"preset": model},
        "optimizer": _named(optimizer, batch_sequences=batch_sequences),
        "sampling": _named({}, budget_tokens=budget_tokens),
        "replicates": replicates,
        "width": width,
    }
    asked = {
        "count": count,
        "fidelity": fidelity,
        "design": _named({"seed": seed}, kind=design),
        "trainer": _named(trainer, tokens=tokens),
    }
    found = client.post(f"/v1/studies/{study}/swarms", asked)
    if not detach:
        found = follow(client, answer, found["id"])
    answer.give(found, lambda: _show(found))


def follow(client: Client, answer: Answer, swarm_id: str, what: str = "proxies") -> Any:  # noqa: ANN401
    """Show how a swarm comes along until it has ended; return it.

    Raises:
        ProblemError: it failed or was cancelled.
    """
    path = f"/v1/swarms/{swarm_id}"
    title = f"training {client.get(path)['runs_total']} {what}"
    with answer.progress(title) as tell:
        try:
            while (found := client.get(path, wait=1))["state"] not in _ENDED:
                tell(found["progress"], title + _pace(found))
        except KeyboardInterrupt:
            people.print(f"The swarm goes on; to end it: POST {path}/cancel")
            raise
        tell(found["progress"], title)
    if found["state"] != "succeeded":
        raise ProblemError(found["error"] or {"detail": f"the swarm was {found['state']}"})
    return found


def _pace(found: dict[str, Any]) -> str:
    if found["seconds_left"] is None:
        return ""
    return (
        f" · {found['tokens_per_second'] / 1e3:,.0f}k tokens/s · {found['seconds_left']:.0f} s left"
    )


def _show(found: dict[str, Any]) -> None:
    table = Table("swarm", "state", "done", "failed", "left")
    counts = (str(found[name]) for name in ("runs_done", "runs_failed", "runs_left"))
    table.add_row(found["id"], found["state"], *counts)
    output.print(table)
    for warning in found["warnings"]:
        output.print(f"  • {warning}", style="yellow", markup=False)
    output.print(f"Next: mixwright recommend {found['study_id']}")


def _rate(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _named(body: dict[str, Any], **optional: Any) -> dict[str, Any]:  # noqa: ANN401  - JSON
    return {**body, **{name: value for name, value in optional.items() if value is not None}}
