"""Bodies of scored documents, and what is said of those that are wrong."""

import contextlib
import gzip
import json
import sys

import numpy as np
import pytest
import zstandard
from rated_study import NDJSON, PARQUET, QUADMIX, as_lines, as_parquet, documents, rated_study

from app.errors import ConflictError, InvalidRequestError
from app.samples import checking, reading
from app.samples.reading import read_part
from app.samples.space import rated_space
from app.studies.definition import complete
from app.studies.schemas import StudyCreate

SPACE = rated_space(complete(StudyCreate(**rated_study(QUADMIX))))


def read(body, media_type=NDJSON, encoding="identity"):
    return read_part(body, media_type, encoding, SPACE)


def refused(body, media_type=NDJSON, encoding="identity"):
    with pytest.raises(InvalidRequestError) as caught:
        read(body, media_type, encoding)
    return str(caught.value), {error.pointer for error in caught.value.errors}


def rows(**changes):
    """Six documents, of which the third is changed; None leaves a column out."""
    found = documents(6)
    found[2] = {name: value for name, value in (found[2] | changes).items() if value is not None}
    return found


def test_the_same_documents_are_the_same_part_however_they_are_sent():
    some = documents(20_000)
    lines = as_lines(some)
    parts = [
        read(lines),
        read(lines.replace(b"\n", b"\n\n")),
        read(gzip.compress(lines), encoding="gzip"),
        read(zstandard.compress(lines), encoding="zstd"),
        read(as_parquet(some), PARQUET),
    ]
    assert len({part.sha256 for part in parts}) == 1
    changed = [row | {"id": "x" + row["id"]} for row in some]
    assert read(as_lines(changed)).sha256 != parts[0].sha256
    assert read(as_lines(some[::-1])).sha256 != parts[0].sha256


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"edu": float("nan")}, "/2/edu"),
        ({"edu": float("inf")}, "/2/edu"),
        ({"edu": 10**400}, "/2/edu"),
        ({"edu": "0.5"}, "/2/edu"),
        ({"perplexity": True}, "/2/perplexity"),
        ({"perplexity": None}, "/2/perplexity"),
        ({"domain": "wbe"}, "/2/domain"),
        ({"domain": 3}, "/2/domain"),
        ({"tokens": -1}, "/2/tokens"),
        ({"tokens": 1.5}, "/2/tokens"),
        ({"tokens": 2**32}, "/2/tokens"),
        ({"tokens": None}, "/2/tokens"),
        ({"id": [1]}, "/2/id"),
        ({"text": "a whole document"}, "/2/text"),
    ],
)
def test_a_wrong_row_of_json_is_named(changes, pointer):
    detail, pointers = refused(as_lines(rows(**changes)))
    assert pointers == {pointer}
    assert "row 3" in detail


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"edu": float("nan")}, "/2/edu"),
        ({"edu": None}, "/2/edu"),
        ({"domain": "wbe"}, "/2/domain"),
        ({"domain": None}, "/2/domain"),
        ({"tokens": -1}, "/2/tokens"),
        ({"tokens": None}, "/2/tokens"),
    ],
)
def test_a_wrong_row_of_parquet_is_named(changes, pointer):
    detail, pointers = refused(as_parquet(rows(**changes)), PARQUET)
    assert pointers == {pointer}
    assert "row 3" in detail


def test_every_wrong_row_is_named():
    some, places = documents(70_000), {5, 20_000, 69_999}
    for place in places:
        some[place]["edu"] = float("nan")
    wanted = {f"/{place}/edu" for place in places}
    assert refused(as_parquet(some), PARQUET)[1] == wanted
    some[7]["domain"] = "x"
    assert refused(as_lines(some))[1] == {*wanted, "/7/domain"}


def test_of_very_many_wrong_rows_a_hundred_are_named():
    _, pointers = refused(as_lines([row | {"edu": None} for row in documents(5000)]))
    assert len(pointers) == 100


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        (b"[1]\n", "not a JSON object"),
        (b"{\n", "not JSON"),
        (b"\xff\xfe\n", "not JSON"),
        (b'{"domain": "\\ud800"}\n', "not JSON"),
        (b"[" * 10_000 + b"\n", "not JSON"),
    ],
)
def test_a_line_that_is_no_object_is_named(lines, detail):
    told, pointers = refused(as_lines(documents(2)) + b"\n" + lines)
    assert pointers == {"/3"}
    assert f"row 4: {detail}" in told


def test_a_column_of_parquet_is_missing_unknown_or_text():
    some = [row | {"perplexity": "high", "text": "x"} for row in documents(3)]
    for row in some:
        del row["edu"]
    assert refused(as_parquet(some), PARQUET)[1] == {"/0/edu", "/0/text", "/0/perplexity"}


def test_a_body_that_was_cut_off_says_where():
    some = documents(3000)
    whole = {
        (PARQUET, "identity"): as_parquet(some),
        (NDJSON, "gzip"): gzip.compress(as_lines(some)),
        (NDJSON, "zstd"): zstandard.compress(as_lines(some)),
        (NDJSON, "identity"): as_lines(some),
    }
    for (media_type, encoding), body in whole.items():
        detail, _ = refused(body[: len(body) // 2], media_type, encoding)
        assert "truncated or damaged" in detail or "not JSON" in detail


def test_damage_anywhere_is_refused_or_not_to_be_told_from_other_documents():
    lines, table = as_lines(documents(500)), as_parquet(documents(500))
    bodies = {
        (PARQUET, "identity"): table,
        (NDJSON, "gzip"): gzip.compress(lines),
        (NDJSON, "zstd"): zstandard.compress(lines),
    }
    rng = np.random.default_rng(0)
    for (media_type, encoding), body in bodies.items():
        for place in rng.integers(0, len(body), 200):
            damaged = bytearray(body)
            damaged[place] ^= int(rng.integers(1, 256))
            with contextlib.suppress(InvalidRequestError):
                read(bytes(damaged), media_type, encoding)


@pytest.mark.parametrize("body", [b"", b"\n \n"])
def test_an_empty_body_is_refused(body):
    assert "no document" in refused(body)[0]


def test_a_long_line_is_refused():
    line = json.dumps(documents(1)[0] | {"id": "x" * 20_000}).encode()
    assert "row 1 is longer" in refused(line)[0]


def test_a_body_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(reading, "_MOST_UNPACKED", 10_000)
    body = gzip.compress(as_lines(documents(200)))
    assert "in parts" in refused(body, encoding="gzip")[0]


def test_a_million_and_one_documents_are_too_many_for_one_body(monkeypatch):
    for module in (checking, reading):
        monkeypatch.setattr(module, "LARGEST_PART", 100)
    for body, kind in ((as_lines(documents(101)), NDJSON), (as_parquet(documents(101)), PARQUET)):
        assert "several parts" in refused(body, kind)[0]
    read(as_lines(documents(100)))


def test_a_server_without_pyarrow_says_what_it_takes(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert NDJSON in refused(b"PAR1", PARQUET)[0]


def test_a_study_of_mixtures_has_no_raters():
    with pytest.raises(ConflictError, match="no raters"):
        rated_space(complete(StudyCreate(**rated_study({"kind": "mixture"}))))
