"""`mixwright sample apply`, from a shell; killed, it goes on to the same bytes."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
from small_shards import DOMAINS, read_shard, small_function, small_table, write_shard

SHARDS, ROWS = 24, 4000


def command(folder, *options, out="out"):
    fixed = ("--function", folder / "function.json", "--in", folder / "shards/*", "--out")
    words = (sys.executable, "-m", "app.cli.main", "sample", "apply", *fixed, folder / out)
    return [str(word) for word in (*words, *options)]


def run(folder, *options, out="out"):
    return subprocess.run(  # the command as a user has it
        command(folder, *options, out=out), capture_output=True, text=True, check=False
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "function.json").write_text(small_function().to_json())
    for number in range(2):
        write_shard(tmp_path / f"shards/{number}.parquet", small_table(2000, number * 2000))
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_realised_tokens_stand_beside_expected_ones(folder):
    told = json.loads(run(folder, "--json", "--workers", "2").stdout)
    assert (told["written"], told["found"], told["broken"]) == (2, 0, [])
    for name in DOMAINS:
        sums = told["domains"][name]
        rows = [
            row
            for path in sorted((folder / "out").glob("*.parquet"))
            for row in read_shard(path)
            if row["domain"] == name
        ]
        assert sums["realised_tokens"] == sum(row["tokens"] for row in rows)
        off = abs(sums["realised_tokens"] - sums["expected_tokens"])
        assert off < 4 * sums["variance"] ** 0.5
    shown = run(folder)
    assert "0 shards written, 2 complete before" in shown.stdout
    assert "s.d." in shown.stdout


def test_columns_may_have_other_names(folder):
    table = small_table(2000)
    names = {"id": "url", "domain": "topic", "tokens": "length", "edu": "fineweb_edu"}
    renamed = table.rename_columns([names.get(name, name) for name in table.column_names])
    write_shard(folder / "shards/0.parquet", renamed)
    (folder / "shards/1.parquet").unlink()
    options = ("--id-column", "url", "--domain-column", "topic", "--tokens-column", "length")
    done = run(folder, *options, "--score", "edu=fineweb_edu", "--copies-column", "n", "--json")
    assert done.returncode == 0, done.stderr
    rows = read_shard(folder / "out/0.parquet")
    total = sum(row["n"] * row["length"] for row in rows)
    told = json.loads(done.stdout)["domains"]
    assert total == sum(sums["realised_tokens"] for sums in told.values())


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--score", "dclm=x"), 2, "not RATER=COLUMN"),
        (("--id-column", "url"), 1, "no column url"),
        (("--function", "nowhere.json"), 1, "cannot be read"),
        (("--copies-column", "edu"), 1, "has a column edu already"),
        (("--engine", "spark"), 2, "'spark' is not one of"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(folder, options, code, says):
    done = run(folder, *options)
    assert done.returncode == code
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_glob_without_files_is_refused(folder):
    for path in (folder / "shards").iterdir():
        path.unlink()
    done = run(folder)
    assert done.returncode == 1
    assert "no file matches" in done.stderr


def test_a_file_that_is_no_function_is_refused(folder):
    (folder / "function.json").write_text("{}")
    done = run(folder, "--json")
    assert done.returncode == 1
    assert "the format of the sampling function" in json.loads(done.stdout)["error"]["detail"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_file_that_cannot_grow_ends_it_with_what_is_complete(folder, workers):
    write_shard(folder / "shards/9.parquet", small_table(9000, 50_000, text=400))

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    words = command(folder, "--json", "--workers", workers)
    done = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 1
    assert "File too large" in json.loads(done.stdout)["error"]["detail"]
    assert not any((folder / "out").glob("*9.parquet*"))
    again = json.loads(run(folder, "--json").stdout)
    assert (again["found"], again["written"]) == (2, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills"), [("1", 10), ("2", 3)])
def test_killed_again_and_again_it_ends_with_the_same_bytes(tmp_path, workers, kills):
    (tmp_path / "function.json").write_text(small_function().to_json())
    for number in range(SHARDS):
        ending = ("parquet", "jsonl.zst")[number % 2]
        table = small_table(ROWS, number * ROWS, text=200)
        write_shard(tmp_path / f"shards/{number}.{ending}", table)
    whole = json.loads(run(tmp_path, "--json", out="whole").stdout)
    out, half_written = tmp_path / "out", 0
    for kill in range(kills):
        _kill_with(kill, out, command(tmp_path, "--workers", workers))
        half_written += any(out.glob(".*.part"))
        for path in _shards_of(out):
            assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()
    last = json.loads(run(tmp_path, "--json", "--workers", workers).stdout)
    assert half_written > 0
    assert last["found"] >= kills - 1
    assert last["written"] > 0
    assert contents(out) == contents(tmp_path / "whole")
    assert last["domains"] == whole["domains"]


def _shards_of(out):
    return [path for path in out.glob("[!.]*") if path.suffix != ".json"]


def _kill_with(complete, out, words):
    """Start a command; kill its first process when shards are complete and one is half written."""
    before = set(out.glob(".*.part"))
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None:
        if len(_shards_of(out)) >= complete and set(out.glob(".*.part")) - before:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.001)
    assert process.wait() == -signal.SIGKILL
