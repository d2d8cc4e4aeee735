"""`mixwright pull` and `mixwright relay`: weights of a training under way, for trainers without us.

`pull` writes a training's newest weights to a file that a trainer reads again while it runs;
`relay` forwards between a folder and the server, for nodes that have no route to it. Both go on
until they are interrupted, and wait where the server is away.
"""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from app.cli.terminal import DEFAULT_URL, Url, output, people
from mixwright_client.pull import pull as keep_at
from mixwright_client.pull import pull_once
from mixwright_client.relay import relay as forward_between
from mixwright_client.transport import connect


def pull(
    training: Annotated[str, typer.Argument(help="Id of the training.")],
    file: Annotated[Path, typer.Argument(help="JSON to write, a share by domain.")],
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and write whenever there are new weights.")
    ] = False,
    seconds: Annotated[float, typer.Option(help="Between two looks.", min=0.1)] = 10.0,
    url: Url = DEFAULT_URL,
) -> None:
    """Write a training's newest weights to FILE, whole or not at all.

    The token comes from MIXWRIGHT_TOKEN.
    """
    if watch:
        people.print(f"{file} follows {training}; interrupt to end")
        keep_at(url, training, file, seconds=seconds, stop=_until_interrupted())
        return
    transport = connect(url)
    try:
        version = pull_once(transport, training, file)
    finally:
        transport.close()
    if version < 0:
        people.print(f"{file} was not written")
        raise typer.Exit(1)
    output.print(f"version {version} is in {file}", soft_wrap=True)


def relay(
    folder: Annotated[
        Path, typer.Argument(help="What training jobs know as file:///FOLDER.", file_okay=False)
    ],
    url: Url = DEFAULT_URL,
) -> None:
    """Forward between FOLDER and the server, for training jobs that have no route to it.

    The token comes from MIXWRIGHT_TOKEN; it never enters the folder. One relay for a folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    people.print(f"forwarding between {folder} and {url}; interrupt to end")
    forward_between(folder, url, _until_interrupted())


def _until_interrupted() -> threading.Event:
    """Return what is set by the first SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
