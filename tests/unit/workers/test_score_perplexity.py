"""`mixwright score perplexity`: shards with a column for every kept proxy."""

import json

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from small_group import make_order, make_store, make_texts
from typer.testing import CliRunner

from app.cli.main import app
from mixwright.errors import InvalidInputError, MixwrightError
from workers.checkpoint import Checkpoints
from workers.keeping import open_kept
from workers.perplexity import perplexities
from workers.scoring import scorer_of
from workers.train import train_group


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scoring")
    store = make_store(folder)
    order = make_order(store, count=2, keep=True)
    train_group(
        order,
        store,
        torch.device("cpu"),
        checkpoints=Checkpoints(str(folder), order, 3600.0),
        on_step=lambda share: None,
        on_evaluation=lambda points: None,
        should_stop=lambda: False,
        models=str(folder / "models"),
    )
    (folder / "shards").mkdir()
    texts = make_texts(seed=8, documents=5)["low"]
    table = pa.table({"id": [str(i) for i in range(5)], "text": texts})
    parquet.write_table(table, folder / "shards" / "a.parquet")
    lines = [json.dumps({"text": text, "other": 1}) for text in texts]
    (folder / "shards" / "b.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def command(folder, *more, models=("run_0", "run_1")):
    given = [
        part
        for name in models
        for part in ("--model", str(folder / "models" / f"{name}.safetensors"))
    ]
    shards = str(folder / "shards" / "*")
    return ["score", "perplexity", *given, "--in", shards, "--out", str(folder / "out"), *more]


def test_documents_get_a_column_for_every_proxy(folder):
    result = CliRunner().invoke(app, command(folder, "--json"), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["written"], set(told["columns"])) == (2, {"perplexity_run_0", "perplexity_run_1"})
    table = parquet.read_table(folder / "out" / "a.parquet").to_pydict()
    kept = open_kept(folder / "models" / "run_1.safetensors")
    expected = perplexities(kept, table["text"])
    assert table["perplexity_run_1"] == pytest.approx(expected.tolist(), rel=1e-6)
    lines = [json.loads(line) for line in (folder / "out" / "b.jsonl").read_text().splitlines()]
    assert [line["perplexity_run_1"] for line in lines] == pytest.approx(
        expected.tolist(), rel=1e-6
    )
    assert lines[0]["other"] == 1
    again = CliRunner().invoke(app, command(folder), catch_exceptions=False)
    assert "0 shards written, 2 complete before" in again.output
    with pytest.raises(MixwrightError, match="made with another scorer"):
        CliRunner().invoke(app, command(folder, models=("run_0",)), catch_exceptions=False)


def test_what_is_no_proxy_is_refused_on_the_command_line(folder):
    with pytest.raises(MixwrightError, match="no proxy that was kept"):
        CliRunner().invoke(app, command(folder, models=("none",)), catch_exceptions=False)


def test_two_models_of_one_name_are_refused(folder, tmp_path):
    path = folder / "models" / "run_0.safetensors"
    other = tmp_path / "run_0.safetensors"
    other.write_bytes(path.read_bytes())
    with pytest.raises(InvalidInputError, match="two models have one name"):
        scorer_of([path, other])
