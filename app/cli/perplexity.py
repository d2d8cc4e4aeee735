"""`mixwright score perplexity`: documents scored by proxies that workers kept."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.rewriting import Shards, SkipBroken, Workers, bytes_done, find_shards
from app.cli.scoring import Out, TextColumn, show_scored
from app.cli.terminal import Answer, AsJson
from mixwright.errors import MixwrightError


def perplexity(
    shards: Shards,
    out: Out,
    model: Annotated[
        list[Path], typer.Option(help="A kept proxy, NAME.safetensors; repeat for several.")
    ],
    text_column: TextColumn = "text",
    workers: Workers = None,
    skip_broken: SkipBroken = False,
    as_json: AsJson = False,
) -> None:
    """Perplexity under our own proxies, a column perplexity_NAME for each; lower is better."""
    answer, paths = Answer(as_json), find_shards(shards)
    command = [sys.executable, "-m", "workers.scoring", "--out", str(out)]
    command += [part for path in model for part in ("--model", str(path))]
    command += [part for glob in shards for part in ("--in", glob)]
    command += ["--text-column", text_column, *(["--skip-broken"] if skip_broken else [])]
    command += [] if workers is None else ["--workers", str(workers)]
    with bytes_done(answer, "scoring", paths) as tell:
        told = {"out": str(out), **_run(command, tell)}
    answer.give(told, lambda: show_scored(told, {}))


def _run(command: list[str], tell: Any) -> dict[str, Any]:  # noqa: ANN401  - of a progress bar
    """Run what scores; return what it found.

    Raises:
        MixwrightError: it was refused, or ended; says why.
    """
    from app.worker import one_thread  # loads celery and the database

    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=one_thread(), text=True, **streams) as process:  # type: ignore[call-overload]  # noqa: S603  - our own
        odd = []
        for line in process.stderr:
            if line.strip().isdigit():
                tell(int(line))
            else:
                odd.append(line)
        text = process.stdout.read()
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise MixwrightError(f"the scorer ended: {''.join(odd[-3:]).strip()}") from error
    if "error" in found:
        raise MixwrightError(found["error"])
    return found
