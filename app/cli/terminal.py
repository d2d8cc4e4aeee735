"""How commands show things: tables and progress for people, JSON for programs."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from mixwright_client.client import Client

DEFAULT_URL = "http://127.0.0.1:8000"

people = Console(stderr=True, highlight=False)
output = Console(highlight=False)

Url = Annotated[str, typer.Option(envvar="MIXWRIGHT_URL", help="Where the server listens.")]
Token = Annotated[str, typer.Option(envvar="MIXWRIGHT_TOKEN", help="A bearer token.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


class Tell(Protocol):
    """Is told of progress between 0 and 1, and, where it changes, of what is being done."""

    def __call__(self, done: float, title: str = ...) -> None:
        """Show progress."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a command's result goes."""

    as_json: bool

    def give(self, value: object, show: Callable[[], None]) -> None:
        """Print `value` as JSON, or `show` it to a person."""
        if self.as_json:
            print(json.dumps(value, indent=2, ensure_ascii=False))
        else:
            show()

    @contextmanager
    def progress(self, title: str) -> Iterator[Tell]:
        """Yield what is told of progress between 0 and 1; silent for programs."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=people, disable=self.as_json) as bar:
            task = bar.add_task(title, total=1.0)

            def tell(done: float, title: str = title) -> None:
                bar.update(task, completed=done, description=title)

            yield tell


def connect(url: str, token: str) -> Client:
    """Return a client of the server at `url`."""
    return Client(url, token)


def point_table(recommendation: Mapping[str, Any]) -> Table:
    """Return what is recommended: a mixture, or parameters of another space."""
    if recommendation["weights"] is None:
        return parameters_table(recommendation["parameters"])
    return mixture_table(recommendation)


def parameters_table(parameters: Mapping[str, Any]) -> Table:
    """Return weights of raters, or the numbers of every domain."""
    table, rows = Table(title="Recommended parameters"), dict[str, dict[str, float]]()
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            scalars = {part: number for part, number in value.items() if part != "rater_weights"}
            rows[name] = {**value["rater_weights"], **scalars}
        else:
            rows[name] = {"weight": value}
    table.add_column("domain" if "weight" not in next(iter(rows.values())) else "rater")
    for title in next(iter(rows.values())):
        table.add_column(title, justify="right")
    for name, numbers in rows.items():
        table.add_row(name, *(f"{number:.4g}" for number in numbers.values()))
    return table


def mixture_table(recommendation: Mapping[str, Any]) -> Table:
    """Return the recommended weights beside the prior's, largest first."""
    weights, prior = recommendation["weights"], recommendation["baselines"]["prior"]["weights"]
    epochs = recommendation["epochs"]
    table = Table("domain", title="Recommended mixture")
    for title in ("weight", "prior", "ratio", "epochs"):
        table.add_column(title, justify="right")
    for name in sorted(weights, key=weights.__getitem__, reverse=True):
        table.add_row(
            name,
            f"{weights[name]:.4f}",
            f"{prior[name]:.4f}",
            f"{weights[name] / prior[name]:.2f}×" if prior[name] else "–",
            "–" if epochs.get(name) is None else f"{epochs[name]:.2f}",
        )
    return table


def objective_table(recommendation: Mapping[str, Any]) -> Table:
    """Return the predicted objective of the recommendation and of what it is compared with."""
    table = Table("mixture", title="Predicted objective (lower is better)")
    table.add_column("mean", justify="right")
    table.add_column("90 % interval", justify="right")
    rows = [("recommended", recommendation["objective"])]
    rows += [
        (name.replace("_", " "), baseline["objective"])
        for name, baseline in recommendation["baselines"].items()
        if baseline is not None
    ]
    for name, value in rows:
        table.add_row(name, f"{value['mean']:.4f}", f"{value['lower']:.4f} – {value['upper']:.4f}")
    return table


def bullet_list(title: str, lines: Sequence[str], style: str = "") -> None:
    """Print `lines` under `title`, if there are any."""
    if lines:
        output.print(title, style=style or None)
        for line in lines:
            output.print(f"  • {line}", style=style or None, markup=False)
