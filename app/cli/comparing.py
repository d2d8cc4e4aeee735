"""`mixwright schedule compare`: proxies say which schedule ends lowest."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.swarming import follow
from app.cli.terminal import DEFAULT_URL, Answer, AsJson, Token, Url, connect, output
from mixwright.errors import InvalidInputError
from mixwright_client.client import Client

OfStudy = Annotated[str, typer.Argument(help="Name or id of the study.")]
Corpus = Annotated[str, typer.Option(help="Name or id of a registered corpus.")]
Replicates = Annotated[int, typer.Option(help="Seeds of each schedule.", min=1)]
Size = Annotated[str, typer.Option(help="65k, 1m, 15m, 30m or 60m.")]


def compare(
    study: OfStudy,
    corpus: Corpus,
    fidelity: Annotated[str, typer.Option(help="Of the study; gives the number of tokens.")],
    schedule: Annotated[
        list[str],
        typer.Option(
            help="Id of a schedule, a JSON file, or the name of a planner with its defaults; the "
            "first is what the others are compared with."
        ),
    ],
    replicates: Replicates = 8,
    model: Size = "1m",
    tokens: Annotated[
        int | None, typer.Option(help="Per proxy; by default the fidelity's.")
    ] = None,
    learning_rate: Annotated[
        str, typer.Option(help="Peak: a number, step_law, or sweep (tries four).")
    ] = "step_law",
    batch_sequences: Annotated[
        int | None, typer.Option(help="Sequences a step; by default the step law's.")
    ] = None,
    width: Annotated[int, typer.Option(help="Proxies trained together on one device.")] = 16,
    seed: Annotated[int, typer.Option(help="First of the seeds.")] = 0,
    keep: Annotated[bool, typer.Option(help="Keep the trained proxies.")] = False,
    detach: Annotated[bool, typer.Option(help="Do not wait for the end.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write a page that draws the comparison.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Train proxies under several schedules, with the same seeds, and compare how they end.

    A JSON file has a schedule ({"budget": …, "stages": […]}) or a plan ({"planner": "anneal",
    "options": {…}}), and may have a "name".
    """
    client, answer = connect(url, token), Answer(as_json)
    optimizer = {"learning_rate": _rate(learning_rate), "batch_sequences": batch_sequences}
    trainer = {
        "corpus": corpus,
        "model": {"preset": model},
        "optimizer": _given(optimizer),
        "replicates": replicates,
        "width": width,
        "seed": seed,
        "tokens": tokens,
        "keep": keep,
    }
    schedules = [_schedule(one) for one in schedule]
    found = train_under(client, answer, study, fidelity, schedules, _given(trainer), detach)
    if not detach:
        path = f"/v1/swarms/{found['id']}"
        found = client.get(f"{path}/comparison")
        if report is not None:
            report.write_text(client.get_text(f"{path}/report", "text/html"), encoding="utf-8")
    answer.give(found, lambda: _started(found) if detach else _show(found))


def train_under(
    client: Client,
    answer: Answer,
    study: str,
    fidelity: str,
    schedules: Sequence[str | dict[str, Any]],
    trainer: dict[str, Any],
    detach: bool = False,
) -> Any:  # noqa: ANN401  - JSON
    """Have a swarm trained under schedules; return it, once it has ended unless detached."""
    design = {"kind": "schedules", "schedules": [*schedules]}
    asked = {"fidelity": fidelity, "design": design, "trainer": trainer}
    found = client.post(f"/v1/studies/{study}/swarms", asked)
    if not detach:
        follow(client, answer, found["id"], "proxies under schedules")
    return found


def _schedule(text: str) -> str | dict[str, Any]:
    """Return what a schedule on the command line means.

    Raises:
        InvalidInputError: a file that is no JSON object.
    """
    from mixwright.schedules import PLANNERS

    if text in PLANNERS:
        return {"name": text, "planner": text}
    path = Path(text)
    if not path.suffix and not path.is_file():
        return text
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} is no schedule: {error}", "schedule") from error
    if not isinstance(document, dict):
        raise InvalidInputError(f"{path} is no JSON object", "schedule")
    name = document.pop("name", path.stem)
    if "planner" in document:
        return {"name": name, **document}
    return {"name": name, "schedule": document}


def _show(found: dict[str, Any]) -> None:
    table = Table("schedule", title=f"Objective at the end, {found['swarm_id']}")
    for title in ("seeds", "mean", "95 % interval", f"minus {found['baseline']}", "95 % interval"):
        table.add_column(title, justify="right")
    for row in found["schedules"]:
        mean, spread = _cells(row["objective"], "")
        difference, its = _cells(row["difference"], "+")
        table.add_row(row["name"], f"{row['ended']}/{row['runs']}", mean, spread, difference, its)
    output.print(table)
    output.print("Differences are paired by seed; lower is better.")


def _cells(value: dict[str, Any] | None, sign: str) -> tuple[str, str]:
    if value is None:
        return "–", ""
    if value["lower"] is None:
        return f"{value['mean']:{sign}.4f}", ""
    return f"{value['mean']:{sign}.4f}", f"{value['lower']:{sign}.4f} – {value['upper']:{sign}.4f}"


def _started(found: dict[str, Any]) -> None:
    output.print(
        f"Swarm {found['id']} is {found['state']}; when it has ended: GET "
        f"/v1/swarms/{found['id']}/comparison (or /report, a page)",
        soft_wrap=True,
    )


def _rate(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _given(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
