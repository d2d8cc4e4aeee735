"""`mixwright run`: train proposals with one's own trainer, under our leases.

The command finds its mixture in the environment and in a file, and writes what it measured to
another file:

    MIXWRIGHT_WEIGHTS        the mixture as JSON: {"web": 0.7, "code": 0.3}
    MIXWRIGHT_PARAMETERS     in its place in a study of another space, the parameters as JSON
    MIXWRIGHT_MIXTURE_FILE   the same: a mixture in the format of --format, parameters as JSON
    MIXWRIGHT_FIDELITY, MIXWRIGHT_RUN, MIXWRIGHT_STUDY
    MIXWRIGHT_RESULT_FILE    to be written: {"metrics": {...}, "cost": ..., "realised_tokens": ...}
"""

import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.terminal import DEFAULT_URL, Answer, AsJson, Token, Url, connect, people
from mixwright_client.client import Client, ProblemError, UnreachableError

_GRACE_SECONDS = 30.0  # between asking a command to stop and killing it
FROM_COMMAND = ("metrics", "cost", "realised_tokens", "metadata")


def run(
    context: typer.Context,
    study: Annotated[str, typer.Option(help="Name or id of the study.")],
    fidelity: Annotated[str | None, typer.Option(help="By default the strategy decides.")] = None,
    strategy: Annotated[
        str,
        typer.Option(help="swarm (a design), climb (in rounds) or bayesopt (from every result)."),
    ] = "swarm",
    rounds: Annotated[
        str | None,
        typer.Option(help="Runs of each round of climb, such as 64,32,16, its default."),
    ] = None,
    count: Annotated[int, typer.Option(help="Proposals to train, one by one.", min=1)] = 1,
    format_name: Annotated[
        str, typer.Option("--format", help="Of the mixture file; see GET /v1/export-formats.")
    ] = "canonical",
    lease_seconds: Annotated[
        float, typer.Option(help="How long to be silent before another may take the run.")
    ] = 300.0,
    folder: Annotated[Path | None, typer.Option(help="Keep mixture and result files here.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Train proposals with a command of your own: `mixwright run --study S -- python train.py`."""
    if not context.args:
        raise typer.BadParameter("say what to run after `--`")
    client = connect(url, token)
    asked = {
        "count": 1,
        "strategy": strategy,
        "fidelity": fidelity,
        "lease_seconds": lease_seconds,
        **({} if rounds is None else {"options": {"rounds": _counts(rounds)}}),
    }
    ended = []
    for _ in range(count):
        answer = client.post(f"/v1/studies/{study}/proposals", asked)
        if not answer["items"]:
            people.print(
                f"No more proposals: {answer['shortfall']['detail']}", markup=False, soft_wrap=True
            )
            break
        with _folder(folder, answer["items"][0]["id"]) as place:
            work = _Work(client, study, answer["items"][0], lease_seconds, place)
            ended.append(work.do(context.args, format_name))
    Answer(as_json).give(ended, lambda: None)
    if not ended or any(one["state"] != "succeeded" for one in ended):
        raise typer.Exit(1)


def _counts(rounds: str) -> list[int]:
    try:
        return [int(count) for count in rounds.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"'{rounds}' is not numbers of runs with commas between, such as 64,32,16",
            param_hint="--rounds",
        ) from None


@contextmanager
def _folder(kept: Path | None, run_id: str) -> Iterator[Path]:
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="mixwright-") as temporary:
            yield Path(temporary)
        return
    own = kept / run_id
    own.mkdir(parents=True, exist_ok=True)
    yield own


def _point(run: dict[str, Any]) -> dict[str, str]:
    if run["weights"] is None:
        return {"MIXWRIGHT_PARAMETERS": json.dumps(run["parameters"])}
    return {"MIXWRIGHT_WEIGHTS": json.dumps(run["weights"])}


class _Work:
    """One proposal in the hands of a command."""

    def __init__(
        self, client: Client, study: str, run: dict[str, Any], lease_seconds: float, place: Path
    ) -> None:
        self._client, self._run, self._pause = client, run, lease_seconds / 4
        self._path = f"/v1/runs/{run['id']}"
        self._token = {"lease_token": run["lease"]["token"]}
        self._result, self._mixture = place / "result.json", place / "mixture"
        self._environment = {
            "MIXWRIGHT_STUDY": study,
            "MIXWRIGHT_RUN": run["id"],
            "MIXWRIGHT_FIDELITY": run["fidelity"],
            **_point(run),
            "MIXWRIGHT_MIXTURE_FILE": str(self._mixture),
            "MIXWRIGHT_RESULT_FILE": str(self._result),
        }

    def _text(self, format_name: str) -> str:
        if self._run["weights"] is None:
            return json.dumps(self._run["parameters"])
        return str(self._client.get(f"{self._path}/export", format=format_name)["text"])

    def do(self, command: Sequence[str], format_name: str) -> Any:  # noqa: ANN401  - JSON
        """Run the command under the run's lease; return the run as it ended."""
        people.print(f"{self._run['id']}: {' '.join(command)}", markup=False, soft_wrap=True)
        self._mixture.write_text(self._text(format_name), encoding="utf-8")
        self._result.unlink(missing_ok=True)
        environment = {**os.environ, **self._environment}
        with (
            subprocess.Popen(command, env=environment) as process,  # noqa: S603  - the user's own
            _passing_signals_on(process) as received,
            self._beating(process) as is_lost,
        ):
            status = process.wait()
        if is_lost.is_set():
            people.print(f"{self._run['id']} is another holder's by now; it was stopped.")
            return self._client.get(self._path)
        if received:
            return self._fail(f"interrupted by signal {received[0]}")
        if status != 0:
            return self._fail(f"the command ended with exit code {status}")
        return self._report()

    def _report(self) -> Any:  # noqa: ANN401  - JSON
        try:
            result = json.loads(self._result.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return self._fail(f"the command left no result in MIXWRIGHT_RESULT_FILE: {error}")
        unknown = sorted(set(result) - set(FROM_COMMAND)) if isinstance(result, dict) else ["it"]
        if unknown:
            known = ", ".join(FROM_COMMAND)
            return self._fail(f"the result has {', '.join(unknown)}; it may have {known}")
        try:
            return self._client.post(f"{self._path}/complete", {**self._token, **result})
        except ProblemError:
            people.print(
                f"refused: {json.dumps(result)}", style="yellow", markup=False, soft_wrap=True
            )
            raise

    def _fail(self, reason: str) -> Any:  # noqa: ANN401  - JSON
        people.print(
            f"{self._run['id']} failed: {reason}", style="red", markup=False, soft_wrap=True
        )
        return self._client.post(f"{self._path}/fail", {**self._token, "reason": reason[:2000]})

    @contextmanager
    def _beating(self, process: "subprocess.Popen[bytes]") -> Iterator[threading.Event]:
        """Hold on to the lease; stop the command when it is lost."""
        stop, lost = threading.Event(), threading.Event()

        def beat() -> None:
            while not stop.wait(self._pause):
                try:
                    self._client.post(f"{self._path}/heartbeat", self._token)
                except UnreachableError as error:
                    people.print(
                        f"the command goes on: {error}",
                        style="yellow",
                        markup=False,
                        soft_wrap=True,
                    )
                except ProblemError:
                    lost.set()
                    _stop(process)
                    return

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield lost
        finally:
            stop.set()
            thread.join()


@contextmanager
def _passing_signals_on(process: "subprocess.Popen[bytes]") -> Iterator[list[int]]:
    """Give SIGTERM and SIGINT to the command, which may save its work; yield what came."""
    received: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        received.append(number)
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
