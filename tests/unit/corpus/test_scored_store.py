import json

import numpy as np
import pytest
from pyarrow import parquet
from small_group import make_store
from small_scored import RATERS, make_documents, make_scored_store

from mixwright.corpus.build import build_store
from mixwright.corpus.documents import Document, read_scored_documents
from mixwright.corpus.errors import CorpusError
from mixwright.corpus.store import INDEX, open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_scored_store(tmp_path_factory.mktemp("corpus"))


def test_every_training_document_stands_where_its_table_says(store):
    for domain, documents in enumerate(make_documents().values()):
        shard, tokens = store.scored(domain, RATERS), store.train(domain)
        texts = {one.id: one for one in documents}
        assert sorted(shard.ids) == sorted(texts)
        for name, start, count, scores in zip(
            shard.ids, shard.starts, shard.tokens, shard.scores, strict=True
        ):
            assert bytes(tokens[start : start + count]) == texts[name].text.encode() + b"\0"
            assert tuple(scores) == texts[name].scores
        assert shard.tokens.sum() == len(tokens)


def test_columns_come_in_the_order_that_is_asked_for(store):
    forth, back = store.scored(0, RATERS), store.scored(0, RATERS[::-1])
    np.testing.assert_array_equal(forth.scores, back.scores[:, ::-1])
    assert store.raters == RATERS


def test_validation_text_that_is_given_is_all_that_validates_and_is_not_trained_on(tmp_path):
    clean = [f"clean {row} " * 30 for row in range(30)]
    noisy = [Document(text, str(row), (0.5,)) for row, text in enumerate(clean[:10])]
    noisy += [Document(f"noisy {row} " * 30, f"n{row}", (0.1,)) for row in range(30)]
    store = build_store(
        {"other": lambda: noisy[:12], "web": lambda: noisy[12:]},
        tmp_path / "store",
        raters=["edu"],
        validation={"other": lambda: ["x" * 5000], "web": lambda: clean},
    )
    assert bytes(store.validation(1)).split(b"\0")[:-1] == [text.encode() for text in clean]
    assert store.scored(0, ["edu"]).ids == ["n0", "n1"]  # the others validate, in another domain
    assert [entry["dropped"] for entry in store.index["domains"]] == [10, 0]
    assert bytes(store.validation(0)) == b"x" * 5000 + b"\0"


def test_the_table_is_one_that_a_sampling_function_can_be_fitted_to(store):
    table = parquet.read_table(store.folder / "0001.scores.parquet")
    assert table.column_names == ["id", "domain", "tokens", *RATERS]
    assert set(table.column("domain").to_pylist()) == {"high"}


def test_a_table_is_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("mixwright.corpus.scored._ROWS", 7)
    store = make_scored_store(tmp_path)
    assert len(store.scored(0, RATERS).ids) == 60


def test_a_changed_score_is_found(tmp_path):
    store = make_scored_store(tmp_path)
    path = store.folder / "0000.scores.parquet"
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"0000\.scores\.parquet is damaged"):
        open_store(str(store.folder))


def test_a_store_without_scores_is_as_it_was_and_says_what_it_lacks(tmp_path):
    store = make_store(tmp_path)
    assert "raters" not in store.index
    assert set(store.index["domains"][0]) == {"name", "documents", "dropped", "train", "validation"}
    opened = open_store(str(store.folder))
    assert opened.raters == ()
    with pytest.raises(CorpusError, match="no scores of 'edu', it has none; build it with --score"):
        opened.scored(0, ["edu"])


def test_a_scored_domain_with_too_little_to_validate_on_is_refused(tmp_path):
    documents = make_documents(documents=10)["low"]
    with pytest.raises(CorpusError, match=r"'low' trains or validates on .* --validation"):
        build_store({"low": lambda: documents}, tmp_path / "out", raters=RATERS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("raters", [["edu", "edu"], ["tokens"]])
def test_a_rater_needs_a_name_of_its_own(tmp_path, raters):
    with pytest.raises(CorpusError, match="a rater cannot be called"):
        build_store({"low": list}, tmp_path / "out", raters=raters)


def test_validation_text_of_no_domain_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="'high', which is no domain"):
        build_store({"low": list}, tmp_path / "out", validation={"high": list})


GOOD = {"text": "some", "id": 7, "edu": 1.5, "noise": 2}


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_scored_documents_are_read(tmp_path, name):
    write(tmp_path / name, [GOOD, {**GOOD, "id": 8, "noise": -3}])
    found = list(read_scored_documents(tmp_path / name, RATERS))
    assert found == [Document("some", "7", (1.5, 2.0)), Document("some", "8", (1.5, -3.0))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edu": None}, "2 has no score of 'edu'; rate the document again, or drop it"),
        ({"edu": float("nan")}, "2 has the score nan of 'edu'"),
        ({"edu": float("inf")}, "2 has the score inf of 'edu'"),
        ({"text": None}, "2 has no text in the field 'text'"),
        ({"id": None}, "2 has no id in the field 'id'.*--id-field"),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_bad_row_is_named_with_its_file(tmp_path, name, change, message):
    write(tmp_path / name, [GOOD, {**GOOD, **change}])
    with pytest.raises(CorpusError, match=rf"{name}, (line|row) {message}"):
        list(read_scored_documents(tmp_path / name, RATERS))


@pytest.mark.parametrize("value", ['"high"', "true", "[]"])
def test_a_score_that_is_no_number_is_refused(tmp_path, value):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "a", "id": 1, "edu": {value}}}')
    with pytest.raises(CorpusError, match="line 1 has the score"):
        list(read_scored_documents(tmp_path / "a.jsonl", ["edu"]))


def test_files_that_cannot_have_scores_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("some")
    with pytest.raises(CorpusError, match=r"a\.txt has no scores"):
        list(read_scored_documents(tmp_path / "a.txt", RATERS))
    write(tmp_path / "a.parquet", [{"text": "some", "id": 1}])
    with pytest.raises(CorpusError, match="no column 'edu', it has text, id"):
        list(read_scored_documents(tmp_path / "a.parquet", RATERS))


def test_the_index_tells_of_scores(store):
    index = json.loads((store.folder / INDEX).read_text())
    assert index["raters"] == list(RATERS)
    assert index["domains"][0]["scores"]["documents"] == 60


def write(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        import pyarrow

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
