"""`mapInPandas` and `mapInArrow` call the client: once a partition, on what was sent there.

Spark is a JVM and does not run here. What its Python workers (3.5) do with a function is done
again: it is unpickled, called with an iterator over a partition's batches, and every frame that it
yields is checked and converted to the declared schema, column by column and by name.
"""

import pickle
from collections.abc import Iterator

import pytest
from test_client_sampling import DOCUMENT, FUNCTION, copies_by_hand, documents

from mixwright_client.sampling import Chooser, SamplingError

pandas = pytest.importorskip("pandas")
arrow = pytest.importorskip("pyarrow")

SCHEMA = arrow.schema(
    [
        ("id", arrow.string()),
        ("domain", arrow.string()),
        ("edu", arrow.float64()),
        ("loss", arrow.float32()),
        ("url", arrow.string()),
        ("stars", arrow.int32()),
        ("seen", arrow.timestamp("us")),
        ("vector", arrow.list_(arrow.float32())),
    ]
)
COPIES = SCHEMA.append(arrow.field("copies", arrow.int8()))


def rows(count=400):
    """Documents with columns that do not survive pandas unless they are declared."""
    columns = documents(count)
    columns["loss"] = columns["loss"].astype("float32")
    columns["stars"] = [None if place % 3 else place for place in range(count)]
    columns["seen"] = [None if place % 5 == 0 else 10**15 + place for place in range(count)]
    columns["vector"] = [[float(place), 0.5] if place % 7 else None for place in range(count)]
    return arrow.table(columns, SCHEMA)


def partitions(table):
    """Of several batches, of none, of one, and of an empty one among others."""
    cut = [table.slice(start, 100).combine_chunks() for start in range(0, len(table), 100)]
    batches = [one.to_batches(max_chunksize=30) for one in cut]
    empty = arrow.RecordBatch.from_pylist([], SCHEMA)
    return [
        batches[0],
        [],
        batches[1],
        [empty],
        [*batches[2][:2], empty, *batches[2][2:], *batches[3]],
    ]


def map_in_pandas(function, parts, schema):
    """Return what Spark makes of a function of frames, as a table a partition."""
    sent = pickle.dumps(function)
    return [
        arrow.Table.from_batches(_of_frames(pickle.loads(sent), one, schema), schema)
        for one in parts
    ]


def _of_frames(function, batches, schema):
    found = function(batch.to_pandas(date_as_object=True) for batch in batches)
    assert isinstance(found, Iterator)
    return [_as_declared(frame, schema) for frame in found]


def _as_declared(frame, schema):
    assert isinstance(frame, pandas.DataFrame)
    assert set(schema.names) <= set(frame.columns)  # else RESULT_COLUMNS_MISMATCH
    arrays = [_column(frame[field.name], field.type) for field in schema]
    return arrow.RecordBatch.from_arrays(arrays, schema=schema)


def _column(series, kind):
    mask = None if hasattr(series.array, "__arrow_array__") else series.isnull()
    found = arrow.Array.from_pandas(series, mask=mask, type=kind, safe=True)
    return found.combine_chunks() if isinstance(found, arrow.ChunkedArray) else found


def map_in_arrow(function, parts, schema):
    """Return what Spark makes of a function of record batches."""
    sent, tables = pickle.dumps(function), []
    for batches in parts:
        found = list(pickle.loads(sent)(iter(batches)))
        assert all(isinstance(one, arrow.RecordBatch) for one in found)
        tables.append(arrow.Table.from_batches(found, schema))  # refuses another schema
    return tables


def chosen_by_hand(table, repeat=True):
    """The rows with their copies, document by document."""
    names = ["id", "domain", "edu", "loss"]
    copies = [copies_by_hand(one) for one in zip(*(table[n].to_pylist() for n in names))]
    if repeat:
        kept = [place for place, times in enumerate(copies) for _ in range(times)]
        return table.take(arrow.array(kept, arrow.int64()))
    kept = [place for place, times in enumerate(copies) if times]
    return table.take(arrow.array(kept, arrow.int64())).append_column(
        COPIES.field("copies"), arrow.array([copies[place] for place in kept], arrow.int8())
    )


@pytest.mark.parametrize("run", ["frames", "batches"])
@pytest.mark.parametrize("copies", [None, "copies"])
def test_every_partition_has_the_copies_that_are_computed_by_hand(run, copies):
    table, choose = rows(), Chooser(FUNCTION, copies_column=copies)
    spark = map_in_pandas if run == "frames" else map_in_arrow
    schema = SCHEMA if copies is None else COPIES
    parts = partitions(table)
    found = spark(getattr(choose, run), parts, schema)
    for batches, one in zip(parts, found):
        expected = chosen_by_hand(arrow.Table.from_batches(batches, SCHEMA), copies is None)
        assert one.equals(expected)
    assert [len(one) > 0 for one in found] == [True, False, True, False, True]
    whole = spark(getattr(choose, run), [table.to_batches()], schema)[0]
    assert arrow.concat_tables(found).equals(whole)


@pytest.mark.parametrize("copies", [None, "copies"])
def test_batches_of_which_nothing_is_chosen_keep_their_columns(copies):
    table = rows()
    none = [place for place in range(400) if table["id"][place].as_py() not in _ids(table)]
    batches = table.take(none).combine_chunks().to_batches(max_chunksize=1)
    schema = SCHEMA if copies is None else COPIES
    choose = Chooser(FUNCTION, copies_column=copies)
    for spark, function in ((map_in_pandas, choose.frames), (map_in_arrow, choose.batches)):
        (found,) = spark(function, [batches], schema)
        assert (len(found), found.schema) == (0, schema)
    assert len(batches) > 2


def _ids(table):
    return set(chosen_by_hand(table)["id"].to_pylist())


@pytest.mark.parametrize("run", ["frames", "batches"])
def test_a_batch_is_asked_for_when_those_before_are_written(run):
    taken, choose = [], Chooser(FUNCTION)
    batches = rows().to_batches(max_chunksize=50)

    def partition():
        for place, batch in enumerate(batches):
            taken.append(place)
            yield batch.to_pandas() if run == "frames" else batch

    for written, _ in enumerate(getattr(choose, run)(partition())):
        assert taken == list(range(written + 1))
    assert len(taken) == len(batches) == 8


def test_a_bad_document_fails_its_task_by_name():
    table = rows(60)
    broken = table.set_column(2, "edu", arrow.array([1.0] * 45 + [None] + [1.0] * 14))
    for spark, function in ((map_in_pandas, "frames"), (map_in_arrow, "batches")):
        with pytest.raises(SamplingError, match="'edu' of document 'doc-45' is nan"):
            spark(getattr(Chooser(FUNCTION), function), [broken.to_batches(20)], SCHEMA)


def test_the_function_of_these_tests_has_a_table_and_a_z_score():
    assert ["table" in rater for rater in DOCUMENT["raters"]] == [False, True]
