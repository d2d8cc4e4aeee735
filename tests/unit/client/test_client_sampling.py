"""Documents chosen by a function's JSON alone, as executors of Spark do."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from mixwright_client.sampling import Chooser, SamplingError, SamplingFunction
from mixwright_client.sampling_function import interpolate, uniforms_of

TABLE = {"values": [0.0, 1.0, 4.0], "normals": [-1.0, 0.0, 1.0]}
DOCUMENT = {
    "format": "mixwright-sampling-function/1",
    "raters": [
        {"name": "edu", "higher_is_better": True, "center": 2.0, "scale": 0.5},
        {"name": "loss", "higher_is_better": False, "table": TABLE},
    ],
    "domains": [
        {
            "name": name,
            "rater_weights": {"edu": edu, "loss": 1 - edu},
            "lambda": 3.0,
            "omega": 0.6,
            "eta": 0.9,
            "epsilon": 0.05,
            "ranks": {"values": [-2.0, -1.0, 0.5, 3.0], "ranks": [0.1, 0.3, 0.6, 1.0]},
        }
        for name, edu in (("web", 0.75), ("code", 0.25))
    ],
}
FUNCTION = SamplingFunction.from_json(json.dumps(DOCUMENT))
KNOWN_7 = 0.903565871251404  # of the document 7 with seed 0


def documents(count=400):
    rng = np.random.default_rng(0)
    return {
        "id": [f"doc-{number}" for number in range(count)],
        "domain": rng.choice(["web", "code"], count).tolist(),
        "edu": rng.normal(2, 1, count),
        "loss": rng.uniform(-1, 6, count),
        "url": [f"u{number}" for number in range(count)],
    }


def copies_by_hand(row):
    """Of a document as a tuple, by the paper's equations and the standard library."""
    name, domain, edu, loss = row[:4]
    weight = 0.75 if domain == "web" else 0.25
    at = min(max(loss, 0.0), 4.0)
    normal = at - 1 if at < 1 else (at - 1) / 3
    merged = -weight * (edu - 2) / 0.5 + (1 - weight) * normal
    rank = max([0.0] + [r for v, r in zip([-2, -1, 0.5, 3], [0.1, 0.3, 0.6, 1]) if v <= merged])
    kept = (2 / (1 + math.exp(-3 * (0.6 - rank)))) ** 0.9 if rank <= 0.6 else 0.0
    expected = kept + 0.05
    return int(expected) + (uniforms_of([name], 0)[0] < expected - int(expected))


def repeated_ids(columns):
    return [row[0] for row in zip(*columns.values()) for _ in range(copies_by_hand(row))]


def ids_of(pieces, column):
    return [name for piece in pieces for name in piece[column].to_pylist()]


def test_frames_have_the_copies_that_are_computed_by_hand():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(documents())
    whole = pandas.concat(Chooser(FUNCTION).frames([frame[:150], frame[150:150], frame[150:]]))
    assert whole["id"].tolist() == repeated_ids(documents())
    assert list(whole.columns) == list(frame.columns)


def test_batches_have_the_copies_that_are_computed_by_hand():
    arrow = pytest.importorskip("pyarrow")
    batch = arrow.RecordBatch.from_pydict(documents())
    pieces = Chooser(FUNCTION).batches([batch[:150], batch[150:150], batch[150:]])
    assert ids_of(pieces, "id") == repeated_ids(documents())


def test_copies_may_be_a_column():
    pandas, arrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    choose = Chooser(FUNCTION, copies_column="times")
    (frame,) = choose.frames([pandas.DataFrame(documents())])
    (batch,) = choose.batches([arrow.RecordBatch.from_pydict(documents())])
    assert frame["times"].dtype == np.int8
    assert batch.schema.field("times").type == arrow.int8()
    for found in (frame, batch.to_pandas()):
        assert found["id"].repeat(found["times"]).tolist() == repeated_ids(documents())
    with pytest.raises(SamplingError, match="column times already"):
        list(choose.frames([frame]))


def test_columns_may_have_other_names_and_types():
    arrow = pytest.importorskip("pyarrow")
    names = {"id": "key", "domain": "topic", "loss": "perplexity"}
    table = arrow.table(documents()).rename_columns([names.get(name, name) for name in documents()])
    table = table.set_column(1, "topic", table["topic"].dictionary_encode())
    choose = Chooser(FUNCTION, 0, "key", "topic", {"loss": "perplexity"})
    pieces = choose.batches(table.to_batches())
    assert ids_of(pieces, "key") == repeated_ids(documents())


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("edu", math.nan, "'edu' of document 'doc-7' is nan"),
        ("loss", math.inf, "'loss' of document 'doc-7' is inf"),
        ("loss", None, "'loss' of document 'doc-7' is nan"),
        ("domain", "poems", "'doc-7' is of the domain 'poems'.* it knows web, code"),
        ("domain", None, "'doc-7' is of the domain None"),
        ("id", None, "a document is named None"),
    ],
)
def test_a_bad_document_is_named(column, value, says):
    arrow = pytest.importorskip("pyarrow")
    columns = {name: list(values) for name, values in documents(20).items()}
    columns[column][7] = value
    with pytest.raises(SamplingError, match=says):
        list(Chooser(FUNCTION).batches([arrow.RecordBatch.from_pydict(columns)]))


def test_a_missing_column_and_words_for_scores_are_named():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(documents(5))
    with pytest.raises(SamplingError, match="no column edu; there are id, domain, loss, url"):
        list(Chooser(FUNCTION).frames([frame.drop(columns="edu")]))
    with pytest.raises(SamplingError, match="'edu' has no numbers"):
        list(Chooser(FUNCTION).frames([frame.assign(edu="good")]))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing", "no sampling function"),
        ("[]", "no sampling function"),
        (json.dumps({**DOCUMENT, "format": "other/2"}), "'other/2'; expected"),
        (json.dumps({**DOCUMENT, "domains": [{"name": "web"}]}), "no sampling function: KeyError"),
    ],
)
def test_what_is_no_function_is_refused(text, says):
    with pytest.raises(SamplingError, match=says):
        SamplingFunction.from_json(text)


def test_a_column_of_no_rater_is_refused():
    with pytest.raises(SamplingError, match="no rater edo; there are edu, loss"):
        Chooser(FUNCTION, score_columns={"edo": "fineweb_edu"})


def test_uniforms_are_those_of_every_machine():
    assert uniforms_of([7], 0)[0] == pytest.approx(KNOWN_7, rel=1e-15)
    assert uniforms_of(np.array([7]), 0)[0] == uniforms_of(["7"], 0)[0]
    with pytest.raises(SamplingError, match="seed"):
        uniforms_of(["a"], -1)


def test_interpolation_meets_its_points_and_ends_with_them():
    values, normals = np.array(TABLE["values"]), np.array(TABLE["normals"])
    found = interpolate(np.array([-9.0, 0.0, 0.5, 1.0, 2.5, 4.0, 9.0]), values, normals)
    np.testing.assert_array_equal(found, [-1, -1, -0.5, 0, 0.5, 1, 1])


def test_importing_it_needs_neither_httpx_nor_frames():
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['httpx', 'pandas', 'pyarrow']))\n"
        "import mixwright_client.sampling"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
