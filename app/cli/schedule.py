"""`mixwright schedule`: plan a schedule, look at it, and write it for a trainer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.documents import read_sample
from app.cli.terminal import (
    DEFAULT_URL,
    Answer,
    AsJson,
    Token,
    Url,
    bullet_list,
    connect,
    output,
    people,
)
from app.report.numbers import percent, tokens

commands = typer.Typer(help="Stages of a training over its tokens.", no_args_is_help=True)


@commands.command("plan")
def plan(
    study: Annotated[str, typer.Argument(help="Name or id of the study.")],
    planner: Annotated[str, typer.Option(help="See GET /v1/algorithms, kind planner.")],
    budget_tokens: Annotated[float, typer.Option("--tokens", help="To train on.")],
    sequence_length: Annotated[int, typer.Option(help="Tokens of a sequence.")],
    batch_tokens: Annotated[float, typer.Option(help="Tokens of a step.")],
    peak_learning_rate: Annotated[float, typer.Option(help="The largest.")],
    batch_multiple: Annotated[
        int, typer.Option(help="Sequences that every batch is a multiple of.")
    ] = 1,
    option: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE of the planner, the value as JSON or text; repeat."),
    ] = None,
    recommendation: Annotated[
        str | None, typer.Option(help="To begin with; else the study's latest, else its prior.")
    ] = None,
    documents: Annotated[
        list[str] | None,
        typer.Option(help="Glob of Parquet or JSON lines with scores; repeat for several."),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Of the documents, to send; repeat. Else all numbers.")
    ] = None,
    domain_column: Annotated[str, typer.Option(help="Of a document's domain.")] = "domain",
    tokens_column: Annotated[str, typer.Option(help="Of its count of tokens.")] = "tokens",
    within: Annotated[
        str | None,
        typer.Option(help="Schedule whose batches and rates stay, with the data planned here."),
    ] = None,
    begin: Annotated[float, typer.Option(help="Token of it where that data begins.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the sample and of fits.", min=0)] = 0,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Plan stages over a token budget; what needs fits is waited for."""
    client, answer = connect(url, token), Answer(as_json)
    budget = {"tokens": budget_tokens, "sequence_length": sequence_length}
    budget |= {"batch_tokens": batch_tokens, "batch_multiple": batch_multiple}
    body: dict[str, Any] = {
        "planner": planner,
        "budget": {**budget, "peak_learning_rate": peak_learning_rate},
        "options": dict(_option(one) for one in option or ()),
        "seed": seed,
        "recommendation": recommendation,
        "within": None if within is None else {"schedule": within, "begin": begin},
    }
    if documents:
        with answer.progress("reading documents") as progress:
            names = (domain_column, tokens_column, tuple(column or ()))
            sample, left_out = read_sample(documents, *names, seed, progress)
        body["documents"] = sample
        if left_out:
            people.print(f"{left_out} documents without a number were left out", style="yellow")
    made = client.post(f"/v1/studies/{study}/schedules", body)
    if made["state"] != "succeeded":
        with answer.progress("fitting loss curves") as progress:
            made = client.wait(f"/v1/schedules/{made['id']}", progress)
    answer.give(made, lambda: _show(made))


def _option(given: str) -> tuple[str, Any]:
    """Return name and value of NAME=VALUE; what is no JSON is text."""
    name, separator, value = given.partition("=")
    if not (name and separator):
        raise typer.BadParameter(f"'{given}' is not NAME=VALUE", param_hint="--option")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


@commands.command("show")
def show(
    schedule: Annotated[str, typer.Argument(help="Id of a schedule.")],
    parameters: Annotated[
        float | None, typer.Option(help="Of a model; tells what repetition costs it.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Show the stages of a schedule."""
    client, path = connect(url, token), f"/v1/schedules/{schedule}"
    found = client.get(path)
    if parameters is not None:
        found["repetition"] = client.get(f"{path}/repetition", parameters=parameters)
    Answer(as_json).give(found, lambda: _show(found))


def _cost(found: dict[str, Any]) -> None:
    worth, trained = tokens(found["effective_tokens"]), tokens(found["trained_tokens"])
    output.print(
        f"Repetition costs {found['cost']:.4f} nats a token at {tokens(found['parameters'])} "
        f"parameters: {trained} tokens are worth {worth}"
    )
    output.print(f"  by {found['law']}", style="dim")


def _show(found: dict[str, Any]) -> None:
    if found["stages"] is None:
        reason = (found["error"] or {}).get("detail", "")
        output.print(f"{found['id']} is {found['state']} {reason}", markup=False)
        return
    output.print(_stages(found))
    output.print(_domains(found))
    if "repetition" in found:
        _cost(found["repetition"])
    bullet_list("Beware:", found["warnings"], style="yellow")
    for steps in found["steps"]["stages"]:
        _averaged(steps["averaged"] or [])
    output.print(f"Schedule: {found['id']}  (digest {found['digest'][:12]})")
    output.print(f"Next: mixwright schedule export {found['id']} --format levanter")


def _averaged(checkpoints: list[dict[str, Any]]) -> None:
    """Print which checkpoints are averaged, and how."""
    if not checkpoints:
        return
    after = ", ".join(f"{one['steps']:,}" for one in checkpoints)
    weights = ",".join(f"{one['weight']:.9g}" for one in checkpoints)
    output.print(f"Average the checkpoints after {after} steps:")
    output.print(f"  mixwright average CKPT… --weights {weights} --out FILE", soft_wrap=True)


def _stages(found: dict[str, Any]) -> Table:
    count = found["steps"]["count"]
    table = Table("stage", title=f"{found['planner']}: {count:,} steps")
    for title in ("tokens", "first step", "steps", "batch", "learning rate"):
        table.add_column(title, justify="right")
    for stage, steps in zip(found["stages"], found["steps"]["stages"], strict=True):
        table.add_row(
            stage["name"],
            f"{tokens(stage['start_token'])} – {tokens(stage['end_token'])}",
            f"{steps['first_step']:,}",
            f"{steps['steps']:,}",
            _movement(stage, "batch_tokens", tokens),
            _movement(stage, "learning_rate", "{:.3g}".format),
        )
    return table


def _movement(stage: dict[str, Any], which: str, write: Callable[[float], str]) -> str:
    """Return a curve's values where the stage begins and ends; it may reach beyond."""
    from mixwright.schedules.curves import Curve

    curve = Curve.from_json(stage[which])
    start, end = (write(curve.at(stage[edge])) for edge in ("start_token", "end_token"))
    return start if curve.shape == "constant" else f"{start} → {end} ({curve.shape})"


def _domains(found: dict[str, Any]) -> Table:
    table = Table("domain", title="Over all stages")
    for title in ("share", "epochs", "worth"):
        table.add_column(title, justify="right")
    for stage in found["stages"]:
        table.add_column(stage["name"], justify="right")
    shares = found["effective_weights"]
    for name in sorted(shares, key=shares.__getitem__, reverse=True):
        epochs, worth = found["epochs"][name], found["worth"][name]
        table.add_row(
            name,
            percent(shares[name], 2),
            "–" if epochs is None else f"{epochs:.2f}",
            "–" if worth is None else percent(worth),
            *(_share(stage, name) for stage in found["stages"]),
        )
    return table


def _share(stage: dict[str, Any], name: str) -> str:
    """Return a domain's share of a stage, a dash where its selection does not say."""
    amounts = stage.get("weights") or stage["selection"].get("tokens")
    return percent(amounts.get(name, 0.0) / sum(amounts.values())) if amounts else "–"


@commands.command("export")
def export(
    schedule: Annotated[str, typer.Argument(help="Id of a schedule.")],
    format_name: Annotated[str, typer.Option("--format", help="See GET /v1/export-formats.")],
    unit: Annotated[str | None, typer.Option(help="What a weight means to the trainer.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the loader; else the schedule's.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write to this file; of several, to this folder.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Print a schedule as text for a trainer; one that restarts gets a file for each segment."""
    asked = {"format": format_name, "unit": unit, "seed": seed}
    query = {name: value for name, value in asked.items() if value is not None}
    found = connect(url, token).get(f"/v1/schedules/{schedule}/export", **query)
    for warning in found["warnings"]:
        people.print(f"warning: {warning}", style="yellow", markup=False)
    if out is not None:
        _write(found["files"], out)
    Answer(as_json).give(found, lambda: _print(found["files"], out))


def _write(files: list[dict[str, str]], out: Path) -> None:
    if len(files) == 1:
        out.write_text(files[0]["text"], encoding="utf-8")
        return
    out.mkdir(parents=True, exist_ok=True)
    for file in files:
        (out / file["filename"]).write_text(file["text"], encoding="utf-8")


def _print(files: list[dict[str, str]], out: Path | None) -> None:
    if out is not None:
        print(f"Wrote {out}" + (f", {len(files)} files" if len(files) > 1 else ""))
        return
    for file in files:
        if len(files) > 1:
            print(f"# ==> {file['filename']} <==")
        print(file["text"])
