import gzip
import json
import os

import numpy as np
import pytest
from own_process import told_by
from small_group import make_store, make_texts

from mixwright.corpus.build import build_store
from mixwright.corpus.documents import find_files, read_documents
from mixwright.corpus.errors import CorpusError
from mixwright.corpus.python_text import BYTES_PER_DOMAIN, python_corpus
from mixwright.corpus.store import INDEX, open_store, token_type
from mixwright.corpus.tokenizers import make_tokenizer


def build_from(folder, domains, **options):
    readers = {name: (lambda some=some: some) for name, some in domains.items()}
    return build_store(readers, folder / "out", **options)


def text_of(store, domain):
    """All of a domain's documents, from both parts."""
    parts = np.concatenate([store.train(domain), store.validation(domain)])
    return sorted(bytes(parts.astype(np.uint8)).decode().split("\0"))[1:]


def test_every_document_is_there_once_in_one_part_or_the_other(tmp_path):
    store = make_store(tmp_path)
    for domain, texts in enumerate(make_texts().values()):
        assert text_of(store, domain) == sorted(texts)
        assert len(store.validation(domain)) > 0
    assert store.domains == ("low", "high")
    assert (store.tokenizer, store.vocabulary) == ("bytes", 256)
    assert store.train(0).dtype == np.uint8


def test_documents_that_differ_in_white_space_alone_are_one_across_domains(tmp_path):
    some, more = ["a b", "c " * 3000, "a  b\n"], ["a b ", "d " * 3000]
    store = build_from(tmp_path, {"x": some, "y": more})
    assert [entry["documents"] for entry in store.index["domains"]] == [2, 1]
    assert [entry["dropped"] for entry in store.index["domains"]] == [1, 1]


def test_adding_documents_moves_none_from_one_part_to_the_other(tmp_path):
    texts = make_texts(documents=80)["low"]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    few = build_from(tmp_path / "a", {"low": texts[:60]}, validation_share=0.4)
    many = build_from(tmp_path / "b", {"low": texts[::-1]}, validation_share=0.4)
    assert set(bytes(few.validation(0)).split(b"\0")) <= set(bytes(many.validation(0)).split(b"\0"))


def test_a_domain_of_one_document_validates_on_its_last_tenth(tmp_path):
    text = "".join(chr(97 + i % 26) for i in range(9_999))
    store = build_from(tmp_path, {"one": [text]})
    assert bytes(store.train(0)) == text[:9_000].encode()
    assert bytes(store.validation(0)) == text[9_000:].encode() + b"\0"
    parts = store.index["domains"][0]
    assert parts["train"]["bytes"] + parts["validation"]["bytes"] == 9_999


@pytest.mark.parametrize("texts", [[], ["  \n", ""]])
def test_an_empty_domain_is_refused_and_nothing_is_left(tmp_path, texts):
    with pytest.raises(CorpusError, match="'none' is empty"):
        build_from(tmp_path, {"some": ["x" * 9000], "none": texts})
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_build_leaves_nothing_and_can_be_run_again(tmp_path):
    def breaking():
        yield "x" * 5000
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_store({"x": breaking}, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    build_store({"x": lambda: ["x" * 5000]}, tmp_path / "out")
    with pytest.raises(CorpusError, match="is there already"):
        build_store({"x": lambda: ["x" * 5000]}, tmp_path / "out")


PEAKS = """
    import json, pathlib, sys, tracemalloc
    from mixwright.corpus import build

    build._RECENT = 500  # instead of a million, so that a thousand documents are many

    def peak(documents):
        out = pathlib.Path(sys.argv[1]) / str(documents)
        stream = lambda: (f"{number:05} " + "x" * 2500 for number in range(documents))
        tracemalloc.start()
        build.build_store({"x": stream}, out)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(10)  # whatever is loaded at first use
    print(json.dumps([peak(1000), peak(8000)]))  # 2.4 and 20 MB of text
"""


def test_memory_does_not_grow_with_the_text(tmp_path):
    small, large = told_by(PEAKS, tmp_path)
    assert large < 1.5 * small
    assert large < 2_000_000


def test_a_changed_byte_is_found_and_the_file_named(tmp_path):
    store = make_store(tmp_path)
    path = store.folder / "0001.train.bin"
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"0001\.train\.bin is damaged"):
        open_store(str(store.folder))


def test_a_shortened_file_is_found(tmp_path):
    store = make_store(tmp_path)
    path = store.folder / "0000.validation.bin"
    path.chmod(0o644)
    os.truncate(path, 5)
    with pytest.raises(CorpusError, match="damaged"):
        open_store(str(store.folder))


def test_another_store_than_the_registered_one_is_refused(tmp_path):
    store = make_store(tmp_path)
    assert open_store(str(store.folder), store.digest).digest == store.digest
    with pytest.raises(CorpusError, match="not the one that was registered"):
        open_store(str(store.folder), "0" * 64)


def test_a_store_that_vanished_is_missed_with_what_to_do(tmp_path):
    store = make_store(tmp_path)
    with pytest.raises(CorpusError, match="mixwright corpus build"):
        open_store(str(tmp_path / "nowhere"))
    (store.folder / "0000.train.bin").unlink()
    with pytest.raises(CorpusError, match=r"0000\.train\.bin cannot be read"):
        open_store(str(store.folder))
    with pytest.raises(CorpusError, match="is it still there"):
        store.train(0)


def test_an_index_of_another_format_is_refused(tmp_path):
    store = make_store(tmp_path)
    path = store.folder / INDEX
    path.chmod(0o644)
    path.write_text(json.dumps({**store.index, "format": 99}))
    with pytest.raises(CorpusError, match="format 99"):
        open_store(str(store.folder))
    path.write_text("{")
    with pytest.raises(CorpusError, match="cannot be read"):
        open_store(str(store.folder))


def test_windows_are_required_of_both_parts(tmp_path):
    store = make_store(tmp_path)
    store.require_windows(("low", "high"), 64)
    with pytest.raises(CorpusError, match="no domain 'mid'"):
        store.require_windows(("mid",), 64)
    with pytest.raises(CorpusError, match="validation part of the domain 'low'"):
        store.require_windows(("low",), len(store.validation(0)) - 1)


def test_a_remote_store_is_copied_once_and_checked(tmp_path):
    import fsspec

    store = make_store(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.put(str(store.folder) + "/", "/corpora/letters/", recursive=True)
    for _ in range(2):
        opened = open_store("memory://corpora/letters", store.digest, cache=tmp_path / "cache")
        np.testing.assert_array_equal(opened.train(0), store.train(0))
    assert len(list((tmp_path / "cache").iterdir())) == 1
    with pytest.raises(CorpusError, match="cannot be copied"):
        open_store("memory://nowhere", cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("vocabulary", "size"), [(256, 1), (257, 2), (65_536, 2), (65_537, 4), (2**32, 4)]
)
def test_tokens_take_as_few_bytes_as_hold_them(vocabulary, size):
    assert token_type(vocabulary).itemsize == size


ROWS = ["one ä", "two\nlines", "three"]


def write_lines(path):
    lines = "\n".join(json.dumps({"text": row, "id": 1}) for row in ROWS) + "\n\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".zst":
        import zstandard

        path.write_bytes(zstandard.compress(lines.encode()))
    else:
        path.write_text(lines)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_json_lines_are_read_whatever_packs_them(tmp_path, name):
    write_lines(tmp_path / name)
    assert list(read_documents(tmp_path / name)) == ROWS


def test_parquet_is_read(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"body": ROWS}), tmp_path / "a.parquet")
    assert list(read_documents(tmp_path / "a.parquet", "body")) == ROWS
    with pytest.raises(CorpusError, match="no column 'text', it has body"):
        list(read_documents(tmp_path / "a.parquet"))


def test_plain_text_is_one_document(tmp_path):
    (tmp_path / "a.md").write_text("one\ntwo")
    assert list(read_documents(tmp_path / "a.md")) == ["one\ntwo"]


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "line 2 is not JSON"), ('{"t": 1}', "line 2 has no text in the field 'text'"),
     ("[]", "line 2 has no text"), ('{"text": "\\ud800"}', "line 2 is not JSON"),
     ("[" * 100_000, "line 2 is not JSON")],
)  # fmt: skip
def test_a_bad_line_is_named(tmp_path, line, message):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + line)
    with pytest.raises(CorpusError, match=message):
        list(read_documents(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"not packed at all")
    with pytest.raises((CorpusError), match="a\\."):
        list(read_documents(tmp_path / name))


def test_globs_find_files_and_say_when_they_find_none(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.txt").write_text("x")
    assert [p.name for p in find_files([f"{tmp_path}/**/*.txt"], "x")] == ["a.txt"]
    with pytest.raises(CorpusError, match="no file of x matches"):
        find_files([f"{tmp_path}/*.nothing"], "x")


def test_a_trained_tokenizer_is_kept_with_the_store_and_reads_back(tmp_path):
    from tokenizers import Tokenizer

    texts = make_texts(documents=200)
    store = build_from(tmp_path, texts, tokenizer="bpe:300", validation_share=0.3)
    assert store.tokenizer == "bpe:300"
    assert 256 < store.vocabulary <= 300
    assert store.train(0).dtype == np.uint16
    library = Tokenizer.from_file(str(store.folder / "tokenizer.json"))
    decoded = library.decode(store.train(0).tolist(), skip_special_tokens=False)
    assert set(decoded.split("<|endoftext|>")) - {""} <= set(texts["low"])
    assert store.validation_bytes_per_token(0) > 1.5
    again = make_tokenizer(f"hf:{store.folder / 'tokenizer.json'}", [])
    assert again.vocabulary == store.vocabulary
    assert again.encode("abcdefgh").tolist() == [
        *library.encode("abcdefgh").ids, library.token_to_id("<|endoftext|>"),
    ]  # fmt: skip


@pytest.mark.parametrize("spec", ["words", "bpe:12", "bpe:x", "hf:", "hf:/nowhere.json"])
def test_an_unknown_tokenizer_is_refused(spec):
    with pytest.raises(CorpusError, match="tokenizer"):
        make_tokenizer(spec, ["text"])


def test_text_cannot_contain_the_end_of_a_document():
    assert make_tokenizer("bytes", []).encode("a\0b").tolist() == [97, 98, 0]


def test_python_itself_is_a_corpus_that_is_built_once(tmp_path):
    store = python_corpus(tmp_path)
    assert {"code", "docstrings", "comments", "documentation"} <= set(store.domains)
    for entry in store.index["domains"]:
        size = entry["train"]["bytes"] + entry["validation"]["bytes"]
        assert 300_000 <= size <= BYTES_PER_DOMAIN
        assert entry["validation"]["tokens"] > 4096
    code = bytes(store.train(store.domains.index("code")))
    assert b'"""' not in code[:2000]
    modified = (store.folder / INDEX).stat().st_mtime_ns
    assert python_corpus(tmp_path).digest == store.digest
    assert (store.folder / INDEX).stat().st_mtime_ns == modified
