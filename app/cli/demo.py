"""`mixwright demo`: the whole loop on real text, from nothing to a recommended mixture.

With `--regmix FOLDER` it runs on RegMix's published tables; otherwise it trains tiny language
models on the text of this Python installation and, at the end, checks the recommendation by
training on it.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from app.cli.importing import show_and_store
from app.cli.recommending import fit_study, recommend_by, show, write_report
from app.cli.terminal import Answer, AsJson, connect, output, people
from app.studies.definition import to_core
from mixwright.arrays import FloatArray
from mixwright.constraints import compile_constraints
from mixwright.importers import import_regmix
from mixwright.swarm import SWARM_DESIGNS
from mixwright_client.client import Client

SWARM = {"small": (24, 300), "large": (6, 600)}  # fidelity: proxies, steps
WANTED = ("docstrings", "documentation")  # the model is to be good at these: prose about code
CHECK_SEEDS = (101, 102, 103)


def demo(
    regmix: Annotated[
        Path | None, typer.Option(help="The folder `data/` of sail-sg/regmix.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Where the demo keeps its server.")] = Path(
        "var/demo"
    ),
    as_json: AsJson = False,
) -> None:
    """Run the whole loop on real text and end with a recommended mixture and its report."""
    answer = Answer(as_json)
    with own_server(data_dir) as client:
        if regmix is not None:
            study, check = "demo-regmix", None
            show_and_store(import_regmix(regmix, study), True, client, Answer(False))
        else:
            study = "demo-python"
            check = train_swarm(client, answer, study)
        fit = fit_study(client, answer, study, "auto", None, 0)
        found = recommend_by(client, answer, study, {"fit": fit["id"], "method": "regmix"})
        report = data_dir / f"{study}.html"
        write_report(client, found["id"], report)
    checked = check(found) if check else []
    result = {"recommendation": found, "report": str(report.resolve()), "check": checked}
    answer.give(result, lambda: _show(found, fit, report, checked))


@contextmanager
def own_server(data_dir: Path) -> Iterator[Client]:
    """Run `mixwright serve` on a free port until the block ends."""
    data_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "app.cli.main", "serve", "--port", "0"]
    command += ["--data-dir", str(data_dir)]
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


def train_swarm(client: Client, answer: Answer, study: str) -> Callable[[Any], list[Any]]:
    """Train proxies at two fidelities and store them; return what checks a recommendation."""
    about = ask_trainer({"describe": True}, lambda _: None)
    domains = list(about["domains"])
    problem = to_core(client.post("/v1/studies", _study(study, about)))
    polytope = compile_constraints(problem)
    for seed, (fidelity, (count, steps)) in enumerate(SWARM.items()):
        mixtures = SWARM_DESIGNS["dirichlet"](problem, polytope, count, seed)
        with answer.progress(f"training {count} {fidelity} proxies") as progress:
            losses = train(mixtures, [0] * count, steps, progress)
        runs = [
            {
                "external_id": f"{fidelity}-{index:03d}",
                "fidelity": fidelity,
                "weights": dict(zip(domains, map(float, mixture), strict=True)),
                "metrics": {f"loss/{d}": x for d, x in zip(domains, loss, strict=True)},
            }
            for index, (mixture, loss) in enumerate(zip(mixtures, losses, strict=True))
        ]
        client.post(f"/v1/studies/{study}/runs:batch", {"runs": runs})
    return lambda found: check_by_training(found, domains, answer)


def check_by_training(found: Any, domains: Sequence[str], answer: Answer) -> list[Any]:  # noqa: ANN401
    """Train on the recommendation and on its baselines with new seeds; return mean losses."""
    named = {"recommended": found["weights"]}
    named |= {name: item["weights"] for name, item in found["baselines"].items() if item}
    rows = [[weights[d] for d in domains] for weights in named.values() for _ in CHECK_SEEDS]
    seeds = list(CHECK_SEEDS) * len(named)
    with answer.progress("training on the recommendation") as progress:
        trained = np.array(train(np.array(rows), seeds, SWARM["large"][1], progress))
    losses = trained[:, [domains.index(name) for name in WANTED]].mean(axis=1)
    by_name = losses.reshape(len(named), len(CHECK_SEEDS))
    return [
        {
            "mixture": name,
            "mean_loss": float(values.mean()),
            "standard_error": float(values.std(ddof=1) / len(CHECK_SEEDS) ** 0.5),
        }
        for name, values in zip(named, by_name, strict=True)
    ]


def train(
    mixtures: FloatArray, seeds: list[int], steps: int, progress: Callable[[float], None]
) -> list[list[float]]:
    """Train a tiny model per mixture in a process of its own; return validation losses."""
    order = {"mixtures": mixtures.tolist(), "seeds": seeds, "steps": steps}
    losses: list[list[float]] = ask_trainer(order, lambda step: progress(step / steps))["losses"]
    return losses


def ask_trainer(order: dict[str, Any], on_step: Callable[[int], None]) -> dict[str, Any]:
    """Send an order to `python -m workers.tiny`; return the last line of its answer."""
    command = [sys.executable, "-m", "workers.tiny"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as trainer:  # noqa: S603
        assert trainer.stdin is not None  # noqa: S101  - piped
        assert trainer.stdout is not None  # noqa: S101  - piped
        json.dump(order, trainer.stdin)
        trainer.stdin.close()
        message: dict[str, Any] = {}
        for line in trainer.stdout:
            message = json.loads(line)
            if "step" in message:
                on_step(message["step"])
    if trainer.returncode != 0:
        raise RuntimeError(f"the trainer ended with exit code {trainer.returncode}")
    return message


def _study(name: str, about: dict[str, Any]) -> dict[str, Any]:
    bytes_of = {fidelity: steps * about["bytes_per_step"] for fidelity, (_, steps) in SWARM.items()}
    return {
        "name": name,
        "domains": [{"name": d, "tokens": float(n)} for d, n in about["domains"].items()],
        "metrics": [{"name": f"loss/{d}"} for d in about["domains"]],
        "fidelities": [
            {
                "name": fidelity,
                "cost": tokens / bytes_of["large"],
                "parameters": float(about["parameters"]),
                "tokens": float(tokens),
            }
            for fidelity, tokens in bytes_of.items()
        ],
        "objective": {f"loss/{name}": 1 / len(WANTED) for name in WANTED},
        "target_fidelity": "large",
    }


def _show(found: Any, fit: Any, report: Path, checked: list[Any]) -> None:  # noqa: ANN401
    show(found, fit, report)
    if checked:
        table = Table("trained on", title=f"Checked by training, {len(CHECK_SEEDS)} seeds each")
        table.add_column("objective, nats per byte", justify="right")
        for row in checked:
            error = f"{row['mean_loss']:.4f} ± {row['standard_error']:.4f}"
            table.add_row(row["mixture"].replace("_", " "), error)
        output.print(table)
        output.print(_verdict(checked))


def _verdict(checked: list[Any]) -> str:
    """Say whether training bore the recommendation out: a gain of two standard errors."""
    ours, prior = checked[0], next(row for row in checked if row["mixture"] == "prior")
    gain = prior["mean_loss"] - ours["mean_loss"]
    error = (prior["standard_error"] ** 2 + ours["standard_error"] ** 2) ** 0.5
    words = f"against the prior the recommendation gains {gain:.4f} ± {error:.4f} nats per byte"
    if gain > 2 * error:
        return f"Training bears it out: {words}."
    return f"Training does not bear it out: {words}. At this toy scale that happens."
