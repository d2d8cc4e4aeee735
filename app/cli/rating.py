"""`mixwright schedule rate`: what each domain is worth at the end of a training."""

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.comparing import Corpus, OfStudy, Replicates, Size, train_under
from app.cli.terminal import DEFAULT_URL, Answer, AsJson, Token, Url, connect, output


def rate(
    study: OfStudy,
    corpus: Corpus,
    fidelity: Annotated[str, typer.Option(help="Of the study; gives the number of tokens.")],
    candidate: Annotated[
        list[str] | None,
        typer.Option(help="Anneal on half of this domain and half of the mixture; repeat."),
    ] = None,
    share: Annotated[
        float, typer.Option(help="Of the tokens at the end.", min=0.01, max=0.9)
    ] = 0.15,
    replicates: Replicates = 4,
    model: Size = "1m",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Anneal proxies on other data at the end, and tell what that does to the objective.

    With candidates (micro-anneals), how much better each of them does than the mixture. Without,
    every domain is left out of the end in turn: how much worse it is without. Higher is better; the
    printed option is for the planner upsample_end.
    """
    from mixwright.schedules.anneal import micro_anneals
    from mixwright.schedules.upsample_end import left_out

    client, answer = connect(url, token), Answer(as_json)
    prior = {one["name"]: one["prior"] for one in client.get(f"/v1/studies/{study}")["domains"]}
    mixtures = micro_anneals(prior, tuple(candidate)) if candidate else left_out(prior)
    schedules = [
        {"name": name, "planner": "anneal", "options": {"share": share, "anneal_weights": mixture}}
        for name, mixture in mixtures.items()
    ]
    trainer = {"corpus": corpus, "model": {"preset": model}, "replicates": replicates}
    swarm = train_under(client, answer, study, fidelity, schedules, trainer)
    compared = client.get(f"/v1/swarms/{swarm['id']}/comparison")
    sign = -1.0 if candidate else 1.0
    rated = {row["name"]: _worth(row["difference"], sign) for row in compared["schedules"][1:]}
    answer.give({"swarm_id": swarm["id"], "utilities": rated}, lambda: _show(rated))


def _worth(difference: dict[str, Any] | None, sign: float) -> dict[str, float | None] | None:
    if difference is None:
        return None
    ends = [
        None if difference[end] is None else sign * difference[end] for end in ("lower", "upper")
    ]
    low, high = ends if sign > 0 else reversed(ends)
    return {"mean": sign * difference["mean"], "lower": low, "upper": high}


def _show(rated: dict[str, dict[str, float | None] | None]) -> None:
    table = Table("domain", title="Worth at the end: what it gains in the objective")
    for title in ("mean", "95 % interval"):
        table.add_column(title, justify="right")
    for name, worth in rated.items():
        if worth is None:
            table.add_row(name, "–", "no pair of runs ended")
            continue
        has_interval = worth["lower"] is not None
        interval = f"{worth['lower']:+.4f} – {worth['upper']:+.4f}" if has_interval else "one seed"
        table.add_row(name, f"{worth['mean']:+.4f}", interval)
    output.print(table)
    means = {name: worth["mean"] for name, worth in rated.items() if worth is not None}
    output.print(f"--option 'utilities={json.dumps(means)}'", soft_wrap=True, markup=False)
