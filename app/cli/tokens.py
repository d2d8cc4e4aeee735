"""`mixwright token`: making, listing and revoking bearer tokens."""

from typing import Annotated

import typer
from rich.table import Table

from app.cli.terminal import DEFAULT_URL, Answer, AsJson, Token, Url, connect, output

commands = typer.Typer(help="Bearer tokens.", no_args_is_help=True)


@commands.command("create")
def create(
    name: Annotated[str, typer.Option(help="Whose it is.")] = "token",
    scope: Annotated[
        list[str] | None, typer.Option(help="read, write, train or admin; repeat for several.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Bind it to this study.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="RFC 3339 time.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Make a token. It is shown once; from then on the server asks everyone for one."""
    scopes = scope or ["admin"]
    body = {"name": name, "scopes": scopes, "study": study, "expires_at": expires_at}
    made = connect(url, token).post("/v1/tokens", body)
    Answer(as_json).give(made, lambda: print(made["token"]))


@commands.command("list")
def list_tokens(url: Url = DEFAULT_URL, token: Token = "", as_json: AsJson = False) -> None:
    """List tokens, without their secrets."""
    found = list(connect(url, token).pages("/v1/tokens"))
    table = Table("id", "name", "scopes", "last used", "expires", "revoked")
    for item in found:
        times = (item["last_used_at"], item["expires_at"], item["revoked_at"])
        table.add_row(
            item["id"], item["name"], " ".join(item["scopes"]), *(time or "–" for time in times)
        )
    Answer(as_json).give(found, lambda: output.print(table))


@commands.command("revoke")
def revoke(
    identity: Annotated[str, typer.Argument(help="Id of the token.")],
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Make a token worthless."""
    gone = connect(url, token).post(f"/v1/tokens/{identity}/revoke", {})
    Answer(as_json).give(gone, lambda: output.print(f"Revoked {gone['name']} ({gone['id']})."))
