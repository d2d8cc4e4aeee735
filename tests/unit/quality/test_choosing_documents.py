"""Which documents of a batch are chosen."""

import math

import numpy as np
import pyarrow as pa
import pytest
from small_shards import DOMAINS, small_function, small_sampler, small_table

from mixwright.quality.choosing import TALLIES
from mixwright.quality.columns import DocumentError
from mixwright.quality.shards import Columns
from mixwright.quality.uniforms import uniforms_of


def batch_of(table):
    return table.combine_chunks().to_batches()[0]


def with_value(table, name, row, value):
    values = table[name].to_pylist()
    values[row] = value
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values))


def test_a_document_is_repeated_as_often_as_the_function_says():
    table, function = small_table(), small_function()
    domains = function.index_of(table["domain"].to_pylist())
    scores = np.stack([table["edu"], table["noise"]], axis=1)
    copies = function.copies(domains, scores, uniforms_of(table["id"].to_pylist(), 0))
    chosen, _ = small_sampler().choose(batch_of(table))
    assert chosen["id"].to_pylist() == [
        name for name, n in zip(table["id"].to_pylist(), copies, strict=True) for _ in range(n)
    ]
    assert copies.max() == 2
    assert 0 in copies


def test_numbers_of_copies_can_be_a_column_instead():
    columns = Columns({"edu": "edu", "noise": "noise"}, copies="times")
    counted, tallies = small_sampler(columns).choose(batch_of(small_table()))
    repeated, others = small_sampler().choose(batch_of(small_table()))
    assert counted.schema.names[-1] == "times"
    assert min(counted["times"].to_pylist()) == 1
    again = [
        name
        for name, n in zip(counted["id"].to_pylist(), counted["times"].to_pylist(), strict=True)
        for _ in range(n)
    ]
    assert again == repeated["id"].to_pylist()
    assert (tallies == others).all()


def test_a_choice_depends_on_neither_order_nor_batches_but_on_the_seed():
    table, sampler = small_table(), small_sampler()
    whole = set(sampler.choose(batch_of(table))[0]["id"].to_pylist())
    shuffled = table.take(np.random.default_rng(1).permutation(len(table)))
    pieces = (sampler.choose(piece)[0] for piece in shuffled.to_batches(max_chunksize=7))
    assert {name for piece in pieces for name in piece["id"].to_pylist()} == whole
    other = small_sampler(seed=1).choose(batch_of(table))[0]["id"].to_pylist()
    assert set(other) != whole


def test_tallies_count_what_was_chosen_and_what_was_expected():
    table = small_table(20_000)
    chosen, tallies = small_sampler().choose(batch_of(table))
    domains, tokens = np.array(table["domain"]), np.array(table["tokens"])
    for row, domain in zip(tallies, DOMAINS, strict=True):
        sums = dict(zip(TALLIES, row, strict=True))
        taken = np.array(chosen["tokens"])[np.array(chosen["domain"]) == domain]
        assert sums["documents"] == (domains == domain).sum()
        assert sums["tokens"] == tokens[domains == domain].sum()
        assert (sums["copies"], sums["realised_tokens"]) == (len(taken), taken.sum())
        off = abs(sums["realised_tokens"] - sums["expected_tokens"])
        assert 0 < off < 4 * math.sqrt(sums["variance"])


@pytest.mark.parametrize(
    "types",
    [
        {"domain": pa.dictionary(pa.int32(), pa.string())},
        {"domain": pa.large_string(), "edu": pa.float32(), "tokens": pa.int32()},
    ],
)
def test_other_types_of_columns_are_the_same_documents(types):
    table = small_table()
    table = table.set_column(2, "edu", table["edu"].cast(pa.float32()).cast(pa.float64()))
    cast = table.cast(
        pa.schema([pa.field(f.name, types.get(f.name, f.type)) for f in table.schema])
    )
    expected = small_sampler().choose(batch_of(table))[0]["id"].to_pylist()
    assert small_sampler().choose(batch_of(cast))[0]["id"].to_pylist() == expected


def test_an_integer_id_is_its_digits():
    table = small_table()
    numbers = table.set_column(0, "id", pa.array(range(len(table))))
    digits = table.set_column(0, "id", pa.array([str(n) for n in range(len(table))]))
    one, other = (small_sampler().choose(batch_of(t))[0]["id"] for t in (numbers, digits))
    assert [str(n) for n in one.to_pylist()] == other.to_pylist()


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("edu", math.nan, "'edu' is nan"),
        ("noise", math.inf, "'noise' is inf"),
        ("edu", None, "'edu' is nan"),
        ("tokens", None, "'tokens' is nan"),
        ("tokens", -1, "'tokens' is -1"),
        ("domain", "poems", "no domain 'poems'; it knows web, code"),
        ("domain", None, "there is no 'domain'"),
        ("id", None, "there is no 'id'"),
    ],
)
def test_a_bad_document_is_named(column, value, says):
    batch = batch_of(with_value(small_table(10), column, 7, value))
    with pytest.raises(DocumentError, match=says) as refused:
        small_sampler().choose(batch)
    assert refused.value.row == 7


def test_scores_that_are_words_are_refused():
    table = small_table(3)
    words = table.set_column(2, "edu", pa.array(["good", "bad", "good"]))
    with pytest.raises(DocumentError, match="'edu' has no numbers"):
        small_sampler().choose(batch_of(words))
