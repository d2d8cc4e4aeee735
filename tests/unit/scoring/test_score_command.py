"""`mixwright score`: columns beside documents, by the protocol of sampling."""

import json

import numpy as np
import pyarrow as pa
import pytest
from small_shards import read_shard, write_shard
from test_text_classifier import BAD, GOOD, texts
from typer.testing import CliRunner

from app.cli.main import app, main
from mixwright.errors import MixwrightError
from mixwright.quality.columns import DocumentError
from mixwright.quality.preselect import predictive_strength
from mixwright.quality.shards import BrokenShardError, ShardError

ENDINGS = ("parquet", "jsonl.zst")


@pytest.fixture
def folder(tmp_path):
    """Two shards of good and bad documents in turn, and files of examples."""
    for number, ending in enumerate(ENDINGS):
        good, bad = texts(GOOD, 30, number), texts(BAD, 30, number + 50)
        mixed = [text for pair in zip(good, bad, strict=True) for text in pair]
        losses = np.random.default_rng(number).random((60, 2)) + [[0.5, 0], [0, 0.5]] * 30
        columns = {"id": range(60), "text": mixed, "good": [True, False] * 30}
        columns |= {"small": losses[:, 0], "large": losses[:, 1]}
        write_shard(tmp_path / f"shards/{number}.{ending}", pa.table(columns))
    for name, words in (("good", GOOD), ("bad", BAD)):
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in texts(words, 40, 7))
        )
    return tmp_path


def score(folder, *words, out="out", shards="shards/*"):
    words = ("score", *words, "--in", folder / shards, "--out", folder / out, "--json")
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def rows(folder, out="out"):
    return [
        row
        for n, ending in enumerate(ENDINGS)
        for row in read_shard(folder / out / f"{n}.{ending}")
    ]


def test_heuristics_are_added_to_every_format(folder):
    told = score(folder, "heuristics", "--prefix", "h_")
    found = rows(folder)
    assert [row["h_word_count"] for row in found] == [12] * 120
    assert [row["id"] for row in found] == [*range(60)] * 2
    assert told["columns"]["h_word_count"] == {
        "documents": 120,
        "mean": 12,
        "standard_deviation": 0,
    }
    again = score(folder, "heuristics", "--prefix", "h_")
    assert (told["written"], again["written"], again["found"]) == (2, 0, 2)
    assert again["columns"] == told["columns"]


def test_perplexity_is_lower_of_what_is_like_the_good_text(folder):
    model = folder / "models/ngram.npz"
    fit = ("ngram", "--model", model, "--good", folder / "good.jsonl", "--bits", 12)
    told = score(folder, *fit)
    values = np.array([row["ngram_perplexity"] for row in rows(folder)])
    assert values[::2].max() < values[1::2].min()
    assert told["columns"]["ngram_perplexity"]["mean"] == pytest.approx(values.mean())
    assert 0 < told["fill"] < 0.5
    kept = score(folder, "ngram", "--model", model, out="again")
    assert kept["model"] == told["model"]
    assert [r["ngram_perplexity"] for r in rows(folder, "again")] == values.tolist()
    assert score(folder, *fit)["found"] == 2  # fitted again, it is the same model


@pytest.mark.parametrize("labels", ["files", "column"])
def test_a_classifier_of_files_or_of_labels(folder, labels):
    examples = {
        "files": ("--good", folder / "good.jsonl", "--bad", folder / "bad.jsonl"),
        "column": ("--good", folder / "shards/*", "--label-column", "good"),
    }
    model = ("classifier", "--model", folder / "c.npz")
    told = score(folder, *model, *examples[labels], "--workers", 2)
    assert told["auc"] == 1
    values = np.array([row["classifier"] for row in rows(folder)])
    assert values[::2].min() > 0.5 > values[1::2].max()
    assert score(folder, *model, out="again")["model"] == told["model"]
    assert (folder / "again/0.parquet").read_bytes() == (folder / "out/0.parquet").read_bytes()


def test_predictive_strength_and_its_classifier(folder):
    losses = ("preselect", "--loss", "small=0.3", "--loss", "large=0.6")
    score(folder, *losses)
    found = rows(folder)
    pairs = np.array([[row["small"], row["large"]] for row in found])
    expected = predictive_strength(pairs, np.array([0.3, 0.6]))
    assert [row["preselect"] for row in found] == expected.tolist()
    sample = ("--sample", folder / "shards/*", "--model", folder / "p.npz", "--column", "like")
    told = score(folder, *losses, *sample, out="like")
    values = np.array([row["like"] for row in rows(folder, "like")])
    assert values[::2].mean() > values[1::2].mean()
    assert (told["good"], told["bad"]) == (26, 26)  # two ninths of 120


def test_a_model_that_changes_makes_other_scores_and_is_noticed(folder):
    fit = ("ngram", "--model", folder / "m.npz", "--bits", 12, "--good")
    score(folder, *fit, folder / "good.jsonl")
    with pytest.raises(MixwrightError, match="made with another scorer; remove it"):
        score(folder, *fit, folder / "bad.jsonl")


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda t: t.drop_columns(["text"]), ShardError, "no column text"),
        (lambda t: t.append_column("word_count", t["id"]), ShardError, "word_count already"),
        (
            lambda t: t.set_column(1, "text", pa.array([None] * 60, pa.string())),
            ShardError,
            "row 1: there is no 'text'",
        ),
    ],
)
@pytest.mark.parametrize("number", [0, 1])
def test_what_cannot_be_scored_is_named(folder, change, error, says, number):
    path = folder / f"shards/{number}.{ENDINGS[number]}"
    table = pa.Table.from_pylist(read_shard(path))
    write_shard(path, change(table))
    with pytest.raises(error, match=says):
        score(folder, "heuristics")


@pytest.mark.parametrize("value", [None, float("nan"), "words"])
def test_losses_that_are_no_numbers_are_named(folder, value):
    table = pa.Table.from_pylist(read_shard(folder / "shards/0.parquet"))
    wrong = table.set_column(3, "small", pa.array([value] * 60))
    write_shard(folder / "shards/0.parquet", wrong)
    with pytest.raises(ShardError, match=r"0\.parquet, row 1"):
        score(folder, "preselect", "--loss", "small=1", "--loss", "large=2")


def test_a_truncated_shard_is_left_out_where_asked(folder):
    path = folder / "shards/0.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BrokenShardError, match="--skip-broken"):
        score(folder, "heuristics")
    told = score(folder, "heuristics", "--skip-broken")
    assert len(told["broken"]) == 1
    assert told["columns"]["word_count"]["documents"] == 60


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("preselect", "--loss", "small"), "not COLUMN=ABILITY"),
        (("preselect", "--loss", "small=1", "--loss", "large=2", "--sample", "x"), "needs a file"),
        (("classifier", "--model", "m", "--good", "x"), "bad files or a column"),
        (("preselect", "--loss", "small=nan", "--loss", "large=2"), "not COLUMN=ABILITY"),
        (("preselect", "--loss", "a=1", "--loss", "b=2", "--model", "p"), "fitted to a sample"),
        (("classifier", "--model", "m", "--bad", "x"), "fitted to good files too"),
        (("classifier", "--model", "m", "--label-column", "x"), "fitted to good files too"),
        (("ngram",), "--model"),
    ],
)
def test_wrong_usage_is_explained(tmp_path, words, says):
    done = CliRunner().invoke(app, ["score", *words, "--in", "x", "--out", str(tmp_path / "o")])
    assert done.exit_code == 2
    assert says in " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("preselect", "--loss", "small=1", "--loss", "large=1"), "two models of different"),
        (("ngram", "--model", "nowhere.npz"), "cannot be read as a model"),
        (("ngram", "--model", "m.npz", "--good", "nowhere*"), "no file"),
    ],
)
def test_what_is_not_there_is_said(folder, words, says):
    with pytest.raises(MixwrightError, match=says):
        score(folder, *words)


@pytest.mark.parametrize(
    "arrays",
    [{"a": 1}, {"head": "[]"}, {"head": '{"kind": "ngram/1"}'}],
)
def test_a_file_of_other_arrays_is_no_model(folder, arrays):
    np.savez(folder / "m.npz", **arrays)
    with pytest.raises(MixwrightError, match="cannot be read as a model"):
        score(folder, "ngram", "--model", folder / "m.npz")


def test_a_label_that_is_none_is_named_with_its_row(folder):
    table = pa.Table.from_pylist(read_shard(folder / "shards/0.parquet"))
    labels = pa.array([1.0, 0.0, 0.5, *[1.0] * 57])
    write_shard(folder / "shards/0.parquet", table.set_column(2, "good", labels))
    examples = ("--good", folder / "shards/*", "--label-column", "good")
    with pytest.raises(ShardError, match=r"0\.parquet, row 3: 'good' is 0\.5; a label is 0 or 1"):
        score(folder, "classifier", "--model", folder / "c.npz", *examples)


def test_a_file_that_cannot_be_written_is_said_without_a_traceback(folder, monkeypatch, capsys):
    words = ["score", "ngram", "--in", folder / "shards/*", "--out", folder / "out"]
    words += ["--good", folder / "good.jsonl", "--model", folder / "good.jsonl/m.npz"]
    monkeypatch.setattr("sys.argv", ["mixwright", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "Not a directory" in capsys.readouterr().err


def test_a_document_error_has_a_row():
    assert DocumentError("x", 3).row == 3
