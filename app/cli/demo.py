"""`mixwright demo`: the whole loop on real text, from nothing to a recommendation that was checked.

With `--regmix FOLDER` it runs on RegMix's published tables; otherwise it trains a swarm of small
language models on the text of this Python installation, as any study does: corpus, swarm, fit,
recommendation under repetition caps. Then it trains on the recommendation and on what it is to be
better than, and says whether it was.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from app.cli.checking import check_by_training, sentence, verdict
from app.cli.corpus import register_corpus
from app.cli.importing import show_and_store
from app.cli.recommending import fit_study, recommend_by, show, write_report
from app.cli.swarming import follow
from app.cli.terminal import Answer, AsJson, connect, output, people
from mixwright.corpus.python_text import BYTES_PER_DOMAIN, python_corpus
from mixwright.corpus.store import TokenStore
from mixwright.importers import import_regmix
from mixwright_client.client import Client

WANTED = ("docstrings", "comments", "documentation")  # prose about code is what it is to be good at
TARGET_TOKENS = 8_000_000.0  # of the run that is planned; caps how often scarce text may be used
MAX_EPOCHS = 4.0
TRAINER: dict[str, Any] = {
    "model": {"preset": "65k"},
    "optimizer": {"learning_rate": 0.01, "schedule": "linear", "batch_sequences": 8},
    "evaluation": {"at": [0.25, 0.5, 1.0], "windows": 64},
    "width": 16,
}


Checked = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Size:
    """How large a demo: proxies, and bytes each is trained on."""

    count: int
    tokens: int


SMALL, FULL = Size(32, 49_152), Size(48, 98_304)


def demo(
    regmix: Annotated[
        Path | None, typer.Option(help="The folder `data/` of sail-sg/regmix.")
    ] = None,
    full: Annotated[bool, typer.Option(help="48 proxies, trained twice as long.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Where the demo keeps its server.")] = Path(
        "var/demo"
    ),
    as_json: AsJson = False,
) -> None:
    """Run the whole loop on real text and end with a recommended mixture and its report."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server ends as well
    answer = Answer(as_json)
    store = None if regmix is not None else _corpus(answer, data_dir)
    with own_server(data_dir) as client:
        if store is None:
            assert regmix is not None  # noqa: S101  - one of the two
            study, size = "demo-regmix", SMALL
            show_and_store(import_regmix(regmix, study), True, client, Answer(False))
        else:
            study, size = "demo-python", FULL if full else SMALL
            train_swarm(client, answer, study, store, size)
        fit = fit_study(client, answer, study, "auto", None, 0)
        found = recommend_by(client, answer, study, {"fit": fit["id"], "method": "regmix"})
        report = data_dir / f"{study}.html"
        write_report(client, found["id"], report)
        trainer = {**TRAINER, "corpus": store.folder.name} if store else {}
        checked = check_by_training(client, answer, study, "check", found, trainer) if store else []
    result = {"recommendation": found, "report": str(report.resolve()), "check": checked}
    result["verdict"] = verdict(checked) if checked else []
    answer.give(result, lambda: _show(found, fit, report, checked))
    people.print(f"To look around: mixwright serve --data-dir {data_dir}", markup=False)


@contextmanager
def own_server(data_dir: Path) -> Iterator[Client]:
    """Run `mixwright serve` on a free port, with a training worker a processor, till the end."""
    data_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "app.cli.main", "serve", "--port", "0"]
    command += ["--data-dir", str(data_dir), "--train-workers", str(os.cpu_count() or 1)]
    with (
        (data_dir / "server.log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server,  # noqa: S603
    ):
        try:
            assert server.stdout is not None  # noqa: S101  - piped
            line = server.stdout.readline()
            people.print(line.strip(), markup=False)
            yield connect(line.split("listens on ")[1].split(";")[0], "")
        finally:
            server.terminate()


def train_swarm(client: Client, answer: Answer, study: str, store: TokenStore, size: Size) -> None:
    """Create the study and have a swarm trained for it."""
    corpus = register_corpus(client, str(store.folder), store, None)
    client.post("/v1/studies", _study(study, store, size))
    swarm = {
        "count": size.count,
        "fidelity": "proxy",
        "trainer": {**TRAINER, "corpus": corpus["id"]},
    }
    started = client.post(f"/v1/studies/{study}/swarms", swarm)
    follow(client, answer, started["id"])


def _corpus(answer: Answer, data_dir: Path) -> TokenStore:
    with answer.progress("reading Python's own text") as tell:
        read = 0

        def add(_domain: str, size: int) -> None:
            nonlocal read
            read += size
            tell(min(1.0, read / (5 * BYTES_PER_DOMAIN)))

        store = python_corpus(data_dir / "corpora", add)
        tell(1.0)
        return store


def _study(name: str, store: TokenStore, size: Size) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [
            {"name": domain, "tokens": float(tokens)}
            for domain, tokens in zip(store.domains, store.train_tokens, strict=True)
        ],
        "metrics": [{"name": f"loss/{domain}"} for domain in store.domains],
        "objective": {f"loss/{domain}": 1 / len(WANTED) for domain in WANTED},
        "fidelities": [
            {"name": "proxy", "cost": 1.0, "tokens": float(size.tokens)},
            {"name": "check", "cost": 2.0, "tokens": float(2 * size.tokens)},
        ],
        "target_fidelity": "check",
        "constraints": {"repetition": {"target_tokens": TARGET_TOKENS, "max_epochs": MAX_EPOCHS}},
    }


def _show(found: dict[str, Any], fit: dict[str, Any], report: Path, checked: Checked) -> None:
    output.print(_skill_table(fit))
    show(found, fit, report)
    if not checked:
        return
    table = Table("trained on", title="Checked on twice the tokens, 3 seeds")
    table.add_column("objective, nats per byte", justify="right")
    for row in checked:
        table.add_row(row["mixture"].replace("_", " "), f"{np.mean(row['losses']):.4f}")
    output.print(table)
    for comparison in verdict(checked):
        output.print(sentence(comparison))


def _skill_table(fit: dict[str, Any]) -> Table:
    table = Table("metric", title="How well the fit predicts runs it did not see")
    for title in ("Spearman", "mean error"):
        table.add_column(title, justify="right")
    for name, scores in fit["metrics"].items():
        table.add_row(name, f"{scores['spearman']:.2f}", f"{scores['mae']:.4f}")
    return table
