"""`mixwright serve`, `mixwright worker`, `mixwright db`: the commands that run the service."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.terminal import output
from app.settings import Settings

_PING_SECONDS = 5.0

database = typer.Typer(help="The database's schema.", no_args_is_help=True)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the embedded database and broker are kept.")
    ] = None,
    train_workers: Annotated[
        int, typer.Option(help="Local workers that train proxies: one a processor or GPU.", min=0)
    ] = 1,
) -> None:
    """Serve the API. With no settings: SQLite and local workers, all in the data directory."""
    from app.serving import serve as run  # the client commands start without the server

    run(
        host,
        port,
        data_dir,
        train_workers,
        announce=lambda line: output.print(line, soft_wrap=True),
    )


def worker(
    queue: Annotated[str, typer.Option(help="fit, suggest or train.")] = "fit",
    concurrency: Annotated[int, typer.Option(help="Jobs at a time.", min=1)] = 1,
    ping: Annotated[
        bool, typer.Option("--ping", help="Only ask whether a worker of the queue answers.")
    ] = False,
) -> None:
    """Work off a queue: `fit` needs the database and the broker, `train` the server and the broker.

    A worker of `fit` also computes suggestions; one of `suggest` does nothing else, so that nobody
    who asks for a run waits for a fit.

    fit, suggest: MIXWRIGHT_DATABASE_URL, MIXWRIGHT_BROKER_URL. train: MIXWRIGHT_URL,
    MIXWRIGHT_TOKEN, MIXWRIGHT_BROKER_URL, and MIXWRIGHT_CHECKPOINTS where several machines train.
    """
    from app.celery_app import QUEUES, make_celery
    from app.worker import worker as run

    if queue not in QUEUES:
        raise typer.BadParameter(f"'{queue}' is not one of {', '.join(QUEUES)}")
    if not ping:
        run(queue, concurrency)
    workers = make_celery(Settings()).control.inspect(timeout=_PING_SECONDS).active_queues() or {}
    serving = [name for name, queues in workers.items() if queue in {q["name"] for q in queues}]
    output.print(f"Answering workers of '{queue}': {', '.join(serving) or 'none'}")
    if not serving:
        raise typer.Exit(1)


@database.command("upgrade")
def upgrade() -> None:
    """Bring the schema of MIXWRIGHT_DATABASE_URL up to what this version needs."""
    from app.serving import db_upgrade

    db_upgrade()
    output.print("The schema is up to date.")
