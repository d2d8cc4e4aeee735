"""`mixwright sample apply --engine ray` on two nodes: the bytes of one process, whatever is killed.

Ray's own processes belong to the nodes that are started here, and end with them.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from deployment import free_port
from small_shards import small_function, small_table, write_shard

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
]
SHARDS, ROWS = 16, 6000
RAY = (sys.executable, "-m", "ray.scripts.scripts")


@pytest.fixture(scope="module")
def address():
    """Of a cluster of two nodes with a processor each."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # short: paths of sockets have 107 bytes
    port = free_port()
    found = f"127.0.0.1:{port}"
    one = ("--num-cpus=1", "--disable-usage-stats", "--block", "--object-store-memory=100000000")
    quiet = ("--include-dashboard=false", f"--temp-dir={folder}")
    nodes = [_start(folder, "head", "--head", f"--port={port}", *quiet, *one)]
    try:
        _wait_for(nodes, found, 1)
        nodes.append(_start(folder, "second", f"--address={found}", *one))
        _wait_for(nodes, found, 2)
        yield found
    finally:
        for node in reversed(nodes):
            _end(node)
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder, name, *options):
    with Path(folder, f"{name}.log").open("wb") as log:
        words = (*RAY, "start", *options)
        return subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)


def _end(node):
    node.terminate()
    try:
        node.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def _wait_for(nodes, address, count):
    program = (
        "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); "
        "print(sum(node['Alive'] for node in ray.nodes()))"
    )
    for _ in range(30):
        assert all(node.poll() is None for node in nodes), "a node of Ray ended"
        words = [sys.executable, "-c", program, address]
        said = subprocess.run(words, capture_output=True, text=True, check=False)
        if said.stdout.split()[-1:] == [str(count)]:
            return
        time.sleep(1)
    pytest.fail(f"Ray has not {count} nodes: {said.stderr[-500:]}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shards, and in `whole` what one process makes of them."""
    made = tmp_path_factory.mktemp("documents")
    (made / "function.json").write_text(small_function().to_json())
    for number in range(SHARDS):
        ending = ("parquet", "jsonl.zst")[number % 2]
        write_shard(made / f"shards/{number}.{ending}", small_table(ROWS, number * ROWS, text=200))
    done = subprocess.run(command(made, "whole"), check=True, capture_output=True, text=True)
    (made / "whole.json").write_text(done.stdout)
    return made


def command(folder, out, *options):
    fixed = ("--function", folder / "function.json", "--in", folder / "shards/*", "--json")
    words = (sys.executable, "-m", "app.cli.main", "sample", "apply", *fixed, "--out", folder / out)
    return [str(word) for word in (*words, *options)]


def on(address):
    return {**os.environ, "RAY_ADDRESS": address}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_nodes_write_the_bytes_and_sums_of_one_process(folder, address):
    words = command(folder, "two", "--engine", "ray")
    done = subprocess.run(words, env=on(address), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert contents(folder / "two") == contents(folder / "whole")
    told, whole = json.loads(done.stdout), json.loads((folder / "whole.json").read_text())
    assert (told["written"], told["domains"]) == (SHARDS, whole["domains"])


def test_killed_it_goes_on_to_the_same_bytes(folder, address):
    words, out = command(folder, "killed", "--engine", "ray"), folder / "killed"
    process = subprocess.Popen(words, env=on(address), stdout=subprocess.DEVNULL)
    while process.poll() is None and len(_complete(out)) < 2:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = len(_complete(out))
    assert before < SHARDS
    done = subprocess.run(words, env=on(address), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["found"] >= before
    assert contents(out) == contents(folder / "whole")


def test_a_shard_whose_worker_was_killed_is_tried_again(folder, address):
    words, out = command(folder, "tried", "--engine", "ray"), folder / "tried"
    process = subprocess.Popen(
        words, env=on(address), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    killed = None
    while process.poll() is None and killed is None:
        killed = next((_kill(part) for part in out.glob(".*.part")), None)
    told, said = process.communicate()
    assert killed is not None
    assert process.returncode == 0, said
    assert json.loads(told)["written"] == SHARDS
    left = contents(out)
    assert {name: left[name] for name in left if not name.endswith(".part")} == contents(
        folder / "whole"
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.drop_columns(["edu"]), "no column edu"),
        (lambda table: table.set_column(2, "edu", [[float("nan")] * len(table)]), "'edu' is nan"),
    ],
)
def test_what_is_wrong_with_a_shard_is_said(tmp_path, address, change, says):
    (tmp_path / "function.json").write_text(small_function().to_json())
    write_shard(tmp_path / "shards/0.parquet", change(small_table(10)))
    words = command(tmp_path, "out", "--engine", "ray")
    done = subprocess.run(words, env=on(address), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert says in json.loads(done.stdout)["error"]["detail"]
    assert not any((tmp_path / "out").iterdir())


def _complete(out):
    return [path for path in out.glob("[!.]*") if path.suffix != ".json"]


def _kill(part):
    """Kill the process that writes half of a file: its number is in the name."""
    process = int(part.name.rsplit("-", 1)[1].split(".")[0])
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return process
