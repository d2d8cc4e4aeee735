"""`mixwright`: every command, and the one place where errors become messages and exit codes.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no server answers.
"""

import json
import sys

import typer

from app.cli import corpus, importing, sampling, schedule, scoring, tokens
from app.cli.averaging import average
from app.cli.clustering import cluster
from app.cli.comparing import compare
from app.cli.demo import demo
from app.cli.following import pull, relay
from app.cli.functions import function, upload
from app.cli.optimizing import optimize
from app.cli.perplexity import perplexity
from app.cli.rating import rate
from app.cli.recommending import export, recommend
from app.cli.running import run
from app.cli.server_commands import database, serve, worker
from app.cli.swarming import swarm
from app.cli.terminal import people
from app.startup import CannotServeError
from mixwright.errors import MixwrightError
from mixwright_client.client import ClientError, UnreachableError

app = typer.Typer(
    help="Finds the mixture of data domains a language model should be trained on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.command()(worker)
app.add_typer(database, name="db")
app.add_typer(importing.commands, name="import")
app.add_typer(corpus.commands, name="corpus")
sampling.commands.command()(upload)
sampling.commands.command()(function)
app.add_typer(sampling.commands, name="sample")
scoring.commands.command("perplexity")(perplexity)
app.add_typer(scoring.commands, name="score")
app.command()(cluster)
schedule.commands.command("compare")(compare)
schedule.commands.command("rate")(rate)
app.add_typer(schedule.commands, name="schedule")
app.command()(swarm)
app.command()(optimize)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(run)
app.command()(recommend)
app.command()(export)
app.command()(pull)
app.command()(relay)
app.command()(average)
app.add_typer(tokens.commands, name="token")
app.command()(demo)


def main() -> None:
    """Run the command line; say what went wrong instead of showing a traceback."""
    try:
        app()
    except (ClientError, MixwrightError, CannotServeError, OSError) as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": getattr(error, "problem", {"detail": str(error)})}))
        else:
            people.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(3 if isinstance(error, UnreachableError) else 1)


if __name__ == "__main__":
    main()
