"""`serve` as a process: what it loads, where it listens, and what it refuses."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from alembic import command
from deployment import Deployment, until

from app.db.revision import alembic_config

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "lightgbm", "sklearn", "botorch", "gpytorch", "plotly", "pandas", "matplotlib"}
TOKEN = "mw_0123456789abcdef_" + 32 * "5e"


def serve(data_dir, *, host="127.0.0.1", port=0, announce="print(line, flush=True)", **settings):
    """Start a server in a process of its own."""
    script = f"""
import os, signal, sys
from app.serving import serve
def announce(line):
    {announce}
serve({host!r}, {port}, announce=announce)
"""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MIXWRIGHT_")}
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={**clean, "PYTHONPATH": str(ROOT), "MIXWRIGHT_DATA_DIR": str(data_dir), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def refusal(data_dir, **how):
    """The last line of a server that would not start."""
    process = serve(data_dir, **how)
    out, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert out == ""
    return err.strip().splitlines()[-1]


def test_starts_without_the_libraries_that_only_fits_and_reports_need(tmp_path):
    announce = "print(*sys.modules, flush=True); os.kill(os.getpid(), signal.SIGTERM)"
    process = serve(tmp_path, announce=announce)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    loaded = {name.partition(".")[0] for name in out.split()}
    assert {"fastapi", "numpy", "mixwright"} <= loaded
    assert HEAVY & loaded == set()
    assert "scipy.stats" not in out.split()


def test_one_line_says_where_it_listens_and_where_its_data_lies(tmp_path):
    deployment = Deployment(tmp_path)
    try:
        deployment.start()
        assert deployment.announced.count("\n") == 1
        assert str(tmp_path) in deployment.announced
        for path in ("/healthz", "/readyz"):
            assert deployment.client.get(path).status_code == 200
        assert (tmp_path / "mixwright.db").exists()
    finally:
        deployment.stop()


def test_an_open_address_without_a_token_is_refused_with_the_remedy(tmp_path):
    line = refusal(tmp_path, host="0.0.0.0")
    assert "mixwright token create" in line
    assert "MIXWRIGHT_ADMIN_TOKEN" in line


def test_with_an_admin_token_it_is_open_to_the_token_alone(tmp_path):
    process = serve(tmp_path, host="0.0.0.0", MIXWRIGHT_ADMIN_TOKEN=TOKEN)
    try:
        port = process.stdout.readline().split(";")[0].rpartition(":")[2]
        url = f"http://127.0.0.1:{port}/v1/studies"
        assert httpx.get(url).status_code == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(url, headers=headers).status_code == 200
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in refusal(tmp_path, port=port)


@pytest.mark.postgres
def test_an_external_database_at_a_wrong_revision_is_refused(tmp_path, postgresql_url):
    command.downgrade(alembic_config(postgresql_url), "base")
    line = refusal(tmp_path, MIXWRIGHT_DATABASE_URL=postgresql_url)
    assert "mixwright db upgrade" in line


def test_an_older_embedded_database_is_brought_up_to_date(tmp_path):
    url = f"sqlite:///{tmp_path / 'mixwright.db'}"
    command.upgrade(alembic_config(url), "head")
    command.downgrade(alembic_config(url), "base")
    deployment = Deployment(tmp_path)
    try:
        deployment.start()
        until(lambda: deployment.client.get("/readyz").status_code == 200)
    finally:
        deployment.stop()


POLLS = 50


@pytest.mark.parametrize("what", ["training", "fit"])
def test_a_server_that_stops_answers_those_who_wait(tmp_path, what):
    deployment = Deployment(tmp_path)
    try:
        deployment.start()
        path = waited_for(deployment, what)
        answers = asyncio.run(stop_while_they_wait(deployment, path))
        assert [answer.status_code for answer in answers] == [200] * POLLS
        assert deployment.server.wait(30) == 0
    finally:
        deployment.stop()


def waited_for(deployment, what):
    if what == "fit":
        return f"/v1/fits/{deployment.ask_for_fit(deployment.create_study())}?wait=60"
    body = {"name": "t", "domains": ["a", "b"], "algorithm": "static"}
    return (
        f"/v1/trainings/{deployment.post('/v1/trainings', body, 201)['id']}/weights?after=0&wait=60"
    )


async def stop_while_they_wait(deployment, path):
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=deployment.client.base_url, timeout=90, limits=limits
    ) as client:
        waiting = [asyncio.create_task(client.get(path)) for _ in range(POLLS)]
        done, _ = await asyncio.wait(waiting, timeout=3)  # until all hang on the line
        assert not done
        deployment.server.terminate()
        return await asyncio.gather(*waiting)
