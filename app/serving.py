"""The commands that run the service: `mixwright serve` and `mixwright db upgrade`."""

import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from app.asgi import make_app
from app.auth.access import any_token, new_secret
from app.db.engine import make_engine, make_sessions
from app.db.revision import check_revision, upgrade
from app.main import stop_waiting
from app.settings import Settings
from app.startup import CannotServeError
from app.worker import can_train, local_workers

_GRACE_SECONDS = 5  # for requests under way when the server is told to stop


class _Server(uvicorn.Server):
    """Calls `when_ready` once it listens; answers those who wait when it stops."""

    def __init__(self, app: FastAPI, when_ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE_SECONDS
        )
        super().__init__(config)
        self._app, self._when_ready = app, when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        stop_waiting(self._app)
        await super().shutdown(sockets)


def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    data_dir: Path | None = None,
    train_workers: int = 1,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve until told to stop.

    Without `MIXWRIGHT_BROKER_URL` local workers are part of it; without `MIXWRIGHT_DATABASE_URL`
    the database is a file in `data_dir`, brought up to the newest schema first.

    Args:
        host: address to listen on.
        port: 0 takes a free one.
        data_dir: where everything is kept; by default what `MIXWRIGHT_DATA_DIR` says.
        train_workers: local workers that train proxies, where torch is installed.
        announce: is told, in one line, where the server listens and where its data lies.

    Raises:
        CannotServeError: the address is open to others and no token was made, or it is taken.
        WrongRevisionError: the external database needs `mixwright db upgrade`.
    """
    settings = Settings() if data_dir is None else Settings(data_dir=data_dir)
    settings.worker_token = SecretStr("mw_{}_{}".format(*new_secret()))
    _prepare_database(settings)
    _require_token_or_loopback(settings, host)
    listening = _listen(host, port)
    address = f"http://{_bracketed(host)}:{listening.getsockname()[1]}"
    app = make_app(settings)
    with contextlib.ExitStack() as beside, contextlib.suppress(KeyboardInterrupt):

        def when_ready() -> None:
            announce(f"Mixwright listens on {address}; {_data(settings)}")
            if settings.is_embedded:
                trainers = train_workers if can_train() else 0
                url = f"http://{_reached_at(host)}:{listening.getsockname()[1]}"
                beside.enter_context(local_workers(settings, url, trainers))

        # Uvicorn raises the signal it was stopped by once more when it is done.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        _Server(app, when_ready).run(sockets=[listening])


def db_upgrade() -> None:
    """Bring the database's schema up to what this version needs."""
    settings = Settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    upgrade(settings.effective_database_url)


def _prepare_database(settings: Settings) -> None:
    if settings.database_url:
        engine = make_engine(settings.database_url)
        check_revision(engine)
        engine.dispose()
        return
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    upgrade(settings.effective_database_url)


def _require_token_or_loopback(settings: Settings, host: str) -> None:
    if _is_loopback(host) or settings.admin_token is not None:
        return
    engine = make_engine(settings.effective_database_url)
    has_token = any_token(make_sessions(engine))
    engine.dispose()
    if not has_token:
        raise CannotServeError(
            f"{host} can be reached from other machines and there is no token yet; make one with "
            "`mixwright token create` on a server at 127.0.0.1, or set MIXWRIGHT_ADMIN_TOKEN"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise CannotServeError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listening


def _reached_at(host: str) -> str:
    """Return where a server that listens on `host` is reached from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, _bracketed(host))  # noqa: S104


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _data(settings: Settings) -> str:
    if settings.database_url:
        return "its data is in the database of MIXWRIGHT_DATABASE_URL"
    return f"its data is in {settings.data_dir}"
