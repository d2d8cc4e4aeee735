"""`mixwright average` as a process: what it prints, what a kill leaves, how much it needs."""

import hashlib
import json
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from click import unstyle
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from app.cli.main import app

CHECKPOINTS, TENSORS, SIZE = 10, 10, 2_500_000  # 100 MB each in fp32, tensors of 10 MB
MEGABYTE = 1 << 20


def command(*arguments):
    return [sys.executable, "-m", "app.cli.main", "average", *map(str, arguments)]


def run(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)


@pytest.fixture
def small(tmp_path):
    paths = [tmp_path / f"step{i}.safetensors" for i in range(3)]
    for i, path in enumerate(paths):
        save_file({"w": torch.full((4,), float(i)), "n": torch.arange(2)}, path)
    return paths


def test_json_has_the_hashes_of_every_file(tmp_path, small):
    out = tmp_path / "mean.safetensors"
    done = run(*small, "--out", out, "--method", "linear", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["weight"] for one in told["inputs"]] == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    assert [one["files"][0]["sha256"] for one in told["inputs"]] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in small
    ]
    assert told["output"]["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert told["output"]["bytes"] == out.stat().st_size
    assert load_file(out)["w"].tolist() == pytest.approx([4 / 3] * 4)


def test_people_get_a_table_and_own_weights_may_be_given(tmp_path, small):
    done = run(*small, "--out", tmp_path / "mean.pt", "--weights", "0,1,3", "--dtype", "bfloat16")
    assert done.returncode == 0, done.stderr
    assert "0.7500" in done.stdout
    assert "1 tensors averaged, 1 the same" in done.stdout
    found = torch.load(tmp_path / "mean.pt", weights_only=True)
    assert found["w"].dtype == torch.bfloat16
    assert found["w"].tolist() == [1.75] * 4


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--decay", "0.9"), 2, "--decay"),
        (("--weights", "1,x,2"), 2, "--weights"),
        (("--weights", "1,2,3", "--method", "linear"), 2, "--weights"),
        (("--weights", "1,2"), 1, "2 weights and 3 checkpoints"),
        (("--method", "exponential", "--decay", "2"), 1, "decay is 2"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, small, arguments, status, message):
    given = ["average", *small, "--out", tmp_path / "mean.pt", *arguments]
    done = CliRunner().invoke(app, list(map(str, given)), color=False)
    assert done.exit_code == status
    assert message in f"{unstyle(done.output)}{done.exception}"
    assert not (tmp_path / "mean.pt").exists()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    paths = [folder / f"step{i}.safetensors" for i in range(CHECKPOINTS)]
    for path in paths:
        save_file({f"layers.{n}": torch.ones(SIZE) for n in range(TENSORS)}, path)
    return paths


def test_a_killed_run_leaves_no_file_and_the_next_one_succeeds(tmp_path, large):
    out = tmp_path / "mean.safetensors"
    process = subprocess.Popen(command(*large, "--out", out, "--json"), stdout=subprocess.DEVNULL)
    while process.poll() is None and not any(tmp_path.glob(".mean*.partial")):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert any(tmp_path.glob(".mean*.partial"))  # it was writing
    assert not out.exists()
    assert run(*large, "--out", out).returncode == 0
    assert torch.equal(load_file(out)["layers.9"], torch.ones(SIZE))


MEASURED = """
    import re, sys
    from pathlib import Path
    import numpy as np, safetensors, torch
    from mixwright.checkpoints.averaging import average_checkpoints
    status = Path("/proc/self/status")  # the peak of getrusage may be the parent's
    peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1])
    *paths, out = map(Path, sys.argv[1:])
    before = peak()
    average_checkpoints(paths, out, np.ones(len(paths)))
    print(peak() - before)
"""


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_memory_grows_neither_with_checkpoints_nor_with_tensors(tmp_path, large, kind):
    paths = large
    if kind == "pt":
        paths = [tmp_path / f"{path.stem}.pt" for path in large]
        for path in paths:
            torch.save({f"layers.{n}": torch.ones(SIZE) for n in range(TENSORS)}, path)
    code = [sys.executable, "-c", textwrap.dedent(MEASURED)]
    told = subprocess.check_output([*code, *paths, tmp_path / f"mean.{kind}"], timeout=120)
    assert int(told) < 60 * MEGABYTE  # a checkpoint has 100
