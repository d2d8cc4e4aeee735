"""`mixwright cluster`: a column of clusters, from embeddings in columns or arrays."""

import json

import numpy as np
import pyarrow as pa
import pytest
from small_shards import read_shard, write_shard
from typer.testing import CliRunner

from app.cli.main import app
from mixwright.errors import InvalidInputError, MixwrightError
from mixwright.quality.clusters import DROPPED, assign, cluster
from mixwright.quality.columns import vectors_of
from mixwright.quality.shards import BrokenShardError, ShardError

CENTRES = np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
SHARES = (0.5, 0.3, 0.2)


def blobs(rows, seed):
    """Embeddings, and which of the three blobs each is of."""
    rng = np.random.default_rng(seed)
    which = rng.choice(3, rows, p=SHARES)
    return (CENTRES[which] + 0.1 * rng.normal(size=(rows, 3))).astype(np.float32), which


def table_of(vectors, which, fixed=True):
    flat = pa.array(vectors.ravel())
    lists = pa.FixedSizeListArray.from_arrays(flat, 3) if fixed else pa.array(vectors.tolist())
    return pa.table({"id": range(len(which)), "quality": 4.0 - which, "embedding": lists})


def column_of(embedding):
    return pa.array([embedding] * 200)


@pytest.fixture
def folder(tmp_path):
    for number, ending in enumerate(("parquet", "jsonl")):
        write_shard(tmp_path / f"shards/{number}.{ending}", table_of(*blobs(200, number)))
    return tmp_path


def run(folder, *words, out="out", shards="shards/*", clusters=8):
    fixed = ("--in", folder / shards, "--out", folder / out, "--model", folder / "c.npz")
    words = ("cluster", *fixed, "--clusters", clusters, "--json", *words)
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_blobs_become_clusters_of_every_format(folder):
    told = run(folder)
    for number, ending in enumerate(("parquet", "jsonl")):
        found = [row["cluster"] for row in read_shard(folder / f"out/{number}.{ending}")]
        assert found == blobs(200, number)[1].tolist()  # the largest first
    assert sum(told["sizes"]) == 400
    assert (len(told["sizes"]), told["dropped"], told["written"]) == (3, 0, 2)
    assert (run(folder)["found"], run(folder)["clusters"]) == (2, told["clusters"])


def test_clusters_of_low_quality_are_dropped(folder):
    told = run(folder, "--quality-column", "quality", "--lowest-quality", 2.5)
    assert len(told["sizes"]) == 2
    expected = np.where(blobs(200, 0)[1] == 2, DROPPED, blobs(200, 0)[1])
    assert [row["cluster"] for row in read_shard(folder / "out/0.parquet")] == expected.tolist()
    assert told["dropped"] + sum(told["sizes"]) == 400


def test_an_array_with_ids_becomes_a_table_of_clusters(tmp_path):
    vectors, which = blobs(300, 5)
    np.save(tmp_path / "a.npy", vectors)
    (tmp_path / "a.ids.txt").write_text("".join(f"doc-{n}\n" for n in range(300)))
    run(tmp_path, shards="*.npy")
    rows = read_shard(tmp_path / "out/a.parquet")
    assert rows == [{"id": f"doc-{n}", "cluster": one} for n, one in enumerate(which.tolist())]
    assert run(tmp_path, shards="*.npy")["found"] == 1


def test_other_settings_need_another_file(folder):
    first = run(folder)
    with pytest.raises(InvalidInputError, match=r"fitted with .*ask for these, or name another"):
        run(folder, "--seed", 1)
    (folder / "c.npz").unlink()
    assert run(folder)["clusters"] == first["clusters"]  # made again, it is the same
    (folder / "c.npz").unlink()
    with pytest.raises(MixwrightError, match="made with another clusters; remove it"):
        run(folder, "--seed", 1)


def test_a_sample_stands_for_all_documents(folder):
    told = run(folder, "--sample", 40)
    assert len(told["sizes"]) == 3
    found = [row["cluster"] for row in read_shard(folder / "out/0.parquet")]
    assert len(set(zip(found, blobs(200, 0)[1].tolist(), strict=True))) == 3  # numbered otherwise


def test_documents_of_the_sample_are_assigned_as_they_were_clustered():
    vectors, _ = blobs(500, 3)
    found = cluster(vectors, clusters=20, nearest=1.5)
    np.testing.assert_array_equal(assign(vectors, found.starts, found.label_of), found.labels)


def test_many_documents_are_clustered_in_batches():
    vectors, which = blobs(20_001, 3)
    found = cluster(vectors, clusters=6)
    np.testing.assert_array_equal(found.labels, which)


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([1.0, 2.0], "row 8: 'embedding' has 2 numbers, others have 3"),
        ([1.0, 2.0, float("nan")], "row 8: 'embedding' has a number that is not finite"),
        ([1.0, None, 2.0], "row 8: 'embedding' has a number that is not finite"),
        (None, "row 8: there is no 'embedding'"),
        ([], "row 8: 'embedding' has 0 numbers, others have 3"),
    ],
)
def test_a_wrong_embedding_is_named(tmp_path, ending, wrong, says):
    vectors = blobs(20, 0)[0].tolist()
    vectors[7] = wrong
    write_shard(tmp_path / f"shards/0.{ending}", pa.table({"id": range(20), "embedding": vectors}))
    with pytest.raises(ShardError, match=says):
        run(tmp_path)
    assert not (tmp_path / "c.npz").exists()


def test_vectors_of_another_length_are_named_when_they_are_assigned(folder):
    run(folder)
    short = pa.table({"id": [1], "embedding": [[1.0, 2.0]]})
    write_shard(folder / "more/9.parquet", short)
    with pytest.raises(ShardError, match="has 2 numbers, others have 3"):
        run(folder, shards="more/*")


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        (lambda t: t.drop_columns(["embedding"]), (), "no column embedding"),
        (lambda t: t.set_column(2, "embedding", t["id"]), (), "is int64, not a list"),
        (lambda t: t.append_column("cluster", t["id"]), (), "column cluster already"),
        (lambda t: t.set_column(2, "embedding", column_of(["a"])), (), "no list of numbers"),
        (lambda t: t.set_column(2, "embedding", column_of([[1]])), (), "no list of numbers"),
        (lambda t: t.set_column(2, "embedding", column_of([])), (), "'embedding' has no numbers"),
        (lambda t: t, ("--nearest", "nan"), "nearest is nan"),
        (lambda t: t, ("--nearest", -1), "nearest is -1"),
        (lambda t: t, ("--quality-column", "quality", "--lowest-quality", "nan"), "not a number"),
        (lambda t: t, ("--clusters", 1000), "200 documents for 1000 clusters"),
        (lambda t: t, ("--quality-column", "rating"), "no column rating"),
        (lambda t: t, ("--quality-column", "quality", "--lowest-quality", 9), "average quality"),
    ],
)
def test_bad_input_is_explained(tmp_path, change, options, says):
    write_shard(tmp_path / "shards/0.parquet", change(table_of(*blobs(200, 0), fixed=False)))
    with pytest.raises(MixwrightError, match=says):
        run(tmp_path, *options)


@pytest.mark.parametrize(
    ("array", "ids", "says"),
    [
        (np.zeros((3, 2)), "a\nb\n", "3 rows, and 2 ids"),
        (np.zeros(3), "a\nb\nc\n", "a row a vector"),
        (np.zeros((3, 2)), None, "ids of .* cannot be read"),
        (np.zeros((3, 2)), "\udcff\n", "ids of .* cannot be read"),
    ],
)
def test_a_wrong_array_is_explained(tmp_path, array, ids, says):
    np.save(tmp_path / "a.npy", array)
    if ids is not None:
        (tmp_path / "a.ids.txt").write_text(ids, errors="surrogateescape")
    with pytest.raises(ShardError, match=says):
        run(tmp_path, shards="*.npy", clusters=1)


def test_a_truncated_shard_is_left_out_where_asked(folder):
    path = folder / "shards/0.parquet"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(BrokenShardError, match="--skip-broken"):
        run(folder)
    told = run(folder, "--skip-broken")
    assert (len(told["broken"]), sum(told["sizes"])) == (1, 200)


def test_no_documents_have_no_vectors():
    empty = pa.RecordBatch.from_pydict({"e": pa.array([], pa.list_(pa.float32()))})
    assert vectors_of(empty, "e", 3).shape == (0, 3)
