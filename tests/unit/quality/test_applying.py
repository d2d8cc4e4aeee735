"""Shards of chosen documents: complete or absent, the same bytes however they came about."""

import errno
import hashlib
import json
import math
import os
import platform
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from small_shards import read_shard, small_sampler, small_table, write_shard

from mixwright.quality import rewriting, shards
from mixwright.quality.applying import apply_to_shards
from mixwright.quality.rewriting import OutputError
from mixwright.quality.shards import BrokenShardError, Columns, ShardError, find_shards

ENDINGS = ("parquet", "jsonl", "jsonl.gz", "jsonl.zst")


def some_shards(folder, count=3, rows=500, ending="parquet"):
    return [
        write_shard(folder / f"{number}.{ending}", small_table(rows, number * rows))
        for number in range(count)
    ]


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def truncate(path, share=0.6):
    os.truncate(path, int(path.stat().st_size * share))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("copies", [None, "copies"])
def test_every_format_keeps_the_chosen_documents_whole(tmp_path, ending, copies):
    table = small_table(700, text=20)
    path = write_shard(tmp_path / f"a.{ending}", table)
    columns = Columns({"edu": "edu", "noise": "noise"}, copies=copies)
    applied = apply_to_shards(small_sampler(columns), [path], tmp_path / "out")
    expected, _ = small_sampler(columns).choose(table.combine_chunks().to_batches()[0])
    assert read_shard(tmp_path / "out" / path.name) == expected.to_pylist()
    assert sum(sums["documents"] for sums in applied.domains.values()) == 700


def test_lines_of_json_are_written_as_they_were(tmp_path):
    line = '{"edu":0.99,  "noise":1,"id":7,"domain":"web","tokens":3,"url":"é \\u00e9","at":1e2}'
    (tmp_path / "a.jsonl").write_text(f"\n{line}\n\n")
    apply_to_shards(small_sampler(floor=1.0), [tmp_path / "a.jsonl"], tmp_path / "out")
    written = (tmp_path / "out" / "a.jsonl").read_text().splitlines()
    assert len(written) >= 2
    assert set(written) == {line}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_shard_without_documents_stays_one(tmp_path, ending):
    path = write_shard(tmp_path / f"a.{ending}", small_table(0))
    applied = apply_to_shards(small_sampler(), [path], tmp_path / "out")
    assert read_shard(tmp_path / "out" / path.name) == []
    assert applied.domains["web"]["documents"] == 0


def test_batches_and_row_groups_do_not_change_what_is_chosen(tmp_path, monkeypatch):
    path = write_shard(tmp_path / "a.parquet", small_table(1000))
    apply_to_shards(small_sampler(), [path], tmp_path / "whole")
    monkeypatch.setattr(shards, "_BATCH_ROWS", 7)
    monkeypatch.setattr(shards, "_GROUP_ROWS", 100)
    apply_to_shards(small_sampler(), [path], tmp_path / "pieces")
    whole, pieces = (parquet.ParquetFile(tmp_path / to / "a.parquet") for to in ("whole", "pieces"))
    with whole, pieces:
        assert whole.num_row_groups == 1 < pieces.num_row_groups
        assert whole.read().equals(pieces.read())


def test_two_processes_write_the_bytes_and_the_sums_of_one(tmp_path):
    paths = some_shards(tmp_path, ending="jsonl.zst") + some_shards(tmp_path)
    told = []
    one = apply_to_shards(small_sampler(), paths, tmp_path / "one", progress=told.append)
    two = apply_to_shards(small_sampler(), paths[::-1], tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert one.written == two.written == 6
    for name, sums in one.domains.items():
        assert two.domains[name] == pytest.approx(sums, rel=1e-12)
    assert sum(told) == sum(path.stat().st_size for path in paths)


def test_complete_shards_are_not_written_again(tmp_path):
    paths = some_shards(tmp_path)
    first = apply_to_shards(small_sampler(), paths[:2], tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / ".2.parquet.999.part").write_text("left by one that was killed")
    second = apply_to_shards(small_sampler(), paths, tmp_path / "out")
    assert (first.written, second.written, second.found) == (2, 1, 2)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert len(list((tmp_path / "out").iterdir())) == 6
    fresh = apply_to_shards(small_sampler(), paths, tmp_path / "fresh")
    assert fresh.domains == second.domains


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: small_sampler(seed=1), "another seed"),
        (lambda path: small_sampler(floor=0.2), "another function"),
        (lambda path: os.utime(path, (1, 1)), "another input"),
    ],
)
def test_a_shard_that_was_made_of_something_else_is_not_trusted(tmp_path, change, says):
    (path,) = some_shards(tmp_path, 1)
    apply_to_shards(small_sampler(), [path], tmp_path / "out")
    sampler = change(path) or small_sampler()
    with pytest.raises(OutputError, match=f"{says}; remove it"):
        apply_to_shards(sampler, [path], tmp_path / "out")


def test_a_file_that_was_there_is_not_overwritten(tmp_path):
    (path,) = some_shards(tmp_path, 1)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="not written by this"):
        apply_to_shards(small_sampler(), [path], tmp_path)
    assert path.read_bytes() == before


def test_an_output_that_was_changed_is_not_trusted(tmp_path):
    (path,) = some_shards(tmp_path, 1)
    apply_to_shards(small_sampler(), [path], tmp_path / "out")
    truncate(tmp_path / "out" / path.name)
    with pytest.raises(OutputError, match="changed after it was written"):
        apply_to_shards(small_sampler(), [path], tmp_path / "out")


def test_two_inputs_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        write_shard(tmp_path / folder / "same.parquet", small_table(5))
    with pytest.raises(ShardError, match="written to the same file"):
        find_shards([str(tmp_path / "*" / "*.parquet")])


def test_shards_are_files_of_a_known_format(tmp_path):
    with pytest.raises(ShardError, match="no file matches"):
        find_shards([str(tmp_path / "*.parquet")])
    (tmp_path / "a.csv").touch()
    with pytest.raises(ShardError, match=r"neither \.parquet nor"):
        find_shards([str(tmp_path / "*")])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_missing_column_is_named_with_those_that_are_there(tmp_path, ending):
    path = write_shard(tmp_path / f"a.{ending}", small_table(5).drop_columns(["tokens"]))
    with pytest.raises(ShardError, match=r"no column tokens; it has id, domain, edu, noise"):
        apply_to_shards(small_sampler(), [path], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_function_for_other_raters_names_them(tmp_path):
    (path,) = some_shards(tmp_path, 1)
    with pytest.raises(ShardError, match="score it with dclm"):
        apply_to_shards(small_sampler(raters=("edu", "dclm")), [path], tmp_path / "out")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_column_is_not_taken_for_copies_twice(tmp_path, ending):
    path = write_shard(tmp_path / f"a.{ending}", small_table(5, text=8))
    columns = Columns({"edu": "edu", "noise": "noise"}, copies="text")
    with pytest.raises(ShardError, match=r"a\..* has a column text already"):
        apply_to_shards(small_sampler(columns), [path], tmp_path / "out")


def test_copies_are_not_written_over_what_is_read():
    with pytest.raises(ShardError, match="what is read has a column tokens already"):
        Columns({"edu": "edu"}, copies="tokens")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_bad_document_is_named_by_file_and_row(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(shards, "_BATCH_ROWS", 100)
    scores = small_table(500)["edu"].to_pylist()
    scores[333] = math.nan
    path = write_shard(
        tmp_path / f"a.{ending}", small_table(500).set_column(2, "edu", pa.array(scores))
    )
    with pytest.raises(ShardError, match=rf"a\.{ending}, row 334: 'edu' is nan"):
        apply_to_shards(small_sampler(), [path], tmp_path / "out", skip_broken=True)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("tokens", "many"), ("tokens", {"n": 1}), ("id", 1.5), ("id", True), ("id", "\ud800")],
)
def test_a_line_with_values_that_cannot_be_used_is_refused(tmp_path, name, value):
    row = {"id": 1, "domain": "web", "edu": 0, "noise": 0, "tokens": 7}
    lines = (json.dumps(row) + "\n", json.dumps(row | {name: value}))
    (tmp_path / "a.jsonl").write_text("".join(lines))
    with pytest.raises(ShardError, match=rf"a\.jsonl, row 2: '{name}' cannot be used"):
        apply_to_shards(small_sampler(), [tmp_path / "a.jsonl"], tmp_path / "out")


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (pa.array([1.0, 2.0]), "'id' is double; text or whole numbers"),
        (pa.array([True, False]), "'id' is bool"),
        (pa.array([[1], [2]]), "'id' is list"),
        (pa.array([b"a", b"\xff"]), "'id' has no text"),
    ],
)
def test_ids_are_text_or_whole_numbers(tmp_path, ids, says):
    path = write_shard(tmp_path / "a.parquet", small_table(2).set_column(0, "id", ids))
    with pytest.raises(ShardError, match=rf"a\.parquet, row 1: .*{says}"):
        apply_to_shards(small_sampler(), [path], tmp_path / "out")


def test_two_columns_of_one_name_are_refused(tmp_path):
    table = small_table(5)
    write_shard(tmp_path / "a.parquet", table.append_column("edu", table["noise"]))
    with pytest.raises(ShardError, match=r"a\.parquet has two columns edu"):
        apply_to_shards(small_sampler(), [tmp_path / "a.parquet"], tmp_path / "out")


@pytest.mark.parametrize("ending", ["parquet", "jsonl.gz", "jsonl.zst"])
def test_a_shard_of_no_bytes_is_a_truncated_one(tmp_path, ending):
    (tmp_path / f"a.{ending}").touch()
    with pytest.raises(BrokenShardError, match=rf"a\.{ending} cannot be read"):
        apply_to_shards(small_sampler(), [tmp_path / f"a.{ending}"], tmp_path / "out")


@pytest.mark.parametrize("out", ["taken", "taken/out"])
def test_a_folder_that_cannot_be_is_refused(tmp_path, out):
    paths = some_shards(tmp_path, 1)
    (tmp_path / "taken").touch()
    with pytest.raises(OutputError, match="cannot be a folder to write to"):
        apply_to_shards(small_sampler(), paths, tmp_path / out)


def test_ids_that_are_all_the_same_are_doubted(tmp_path):
    table = small_table(500)
    paths = [write_shard(tmp_path / "a.parquet", table)]
    assert apply_to_shards(small_sampler(), paths, tmp_path / "fine").warnings == []
    same = write_shard(tmp_path / "b.parquet", table.set_column(0, "id", pa.array(["x"] * 500)))
    first, second = apply_to_shards(small_sampler(), [same], tmp_path / "out").warnings
    assert "'web'" in first
    assert "'code'" in second
    assert "ids are not unique" in second


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_truncated_shard_is_named_and_left_out_where_asked(tmp_path, ending, workers):
    paths = some_shards(tmp_path, ending=ending)
    truncate(paths[1])
    out = tmp_path / "out"
    with pytest.raises(BrokenShardError, match=rf"1\.{ending}.*--skip-broken"):
        apply_to_shards(small_sampler(), paths, out, workers)
    applied = apply_to_shards(small_sampler(), paths, out, workers, skip_broken=True)
    assert len(applied.broken) == 1
    assert str(paths[1]) in applied.broken[0]
    assert sum(sums["documents"] for sums in applied.domains.values()) == 1000
    names = {f"{n}.{ending}{more}" for n in (0, 2) for more in ("", ".json")}
    assert {path.name for path in out.iterdir()} == names


def test_a_damaged_page_breaks_a_shard(tmp_path):
    path = write_shard(tmp_path / "a.parquet", small_table(5000))
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3)
        file.write(b"\xff" * 2000)
    with pytest.raises(BrokenShardError, match=r"a\.parquet cannot be read"):
        apply_to_shards(small_sampler(), [path], tmp_path / "out")


@pytest.mark.parametrize("line", ["[1, 2]", "{", "7", "[" * 100_000])
def test_a_line_that_is_no_object_breaks_a_shard(tmp_path, line):
    (tmp_path / "a.jsonl").write_text(line)
    with pytest.raises(BrokenShardError, match=r"a\.jsonl, row 1 is not"):
        apply_to_shards(small_sampler(), [tmp_path / "a.jsonl"], tmp_path / "out")


class FullDisk:
    """A file on /dev/full, to which nothing can be written."""

    def __init__(self, monkeypatch, of):
        real = Path.open

        def opened(path, mode="r", *rest, **named):
            is_full = mode == "wb" and of in path.name
            return real(Path("/dev/full") if is_full else path, mode, *rest, **named)

        monkeypatch.setattr(Path, "open", opened)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("what", ["1.{}", "1.{}.json"])
def test_a_full_disk_leaves_what_is_complete_and_nothing_half(tmp_path, ending, what):
    paths = some_shards(tmp_path, ending=ending)
    with pytest.MonkeyPatch.context() as patch:
        FullDisk(patch, f".{what.format(ending)}.{platform.node()}-{os.getpid()}")
        with pytest.raises(OutputError, match=r"No space left.*run this again") as full:
            apply_to_shards(small_sampler(), paths, tmp_path / "out")
    assert full.value.__cause__.errno == errno.ENOSPC
    assert set(contents(tmp_path / "out")) == {f"0.{ending}", f"0.{ending}.json"}
    apply_to_shards(small_sampler(), paths, tmp_path / "out")
    apply_to_shards(small_sampler(), paths, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_shard_that_grows_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = write_shard(tmp_path / "a.jsonl", small_table(50))
    flush = rewriting._flush

    def flush_and_grow(written):
        flush(written)
        with path.open("a") as more:
            more.write("\n")

    monkeypatch.setattr(rewriting, "_flush", flush_and_grow)
    with pytest.raises(ShardError, match="changed while it was read"):
        apply_to_shards(small_sampler(), [path], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_two_calls_do_not_write_to_one_folder(tmp_path):
    paths = some_shards(tmp_path, 1)
    with rewriting._alone_in(tmp_path / "out"), pytest.raises(OutputError, match="another call"):
        apply_to_shards(small_sampler(), paths, tmp_path / "out")
