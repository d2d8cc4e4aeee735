import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixwright.scoring.heuristics import SIGNALS, HeuristicScorer

NAMES = [signal.name for signal in SIGNALS]


def signals(text):
    row = HeuristicScorer().score(pa.RecordBatch.from_pydict({"text": [text]}))[0]
    return dict(zip(NAMES, row, strict=True))


def test_a_text_counted_by_hand():
    found = signals("The cat sat with THE dog.\n- a #1 bullet...\n\nThe cat sat with THE dog.\nend")
    assert found["word_count"] == 17
    assert found["mean_word_length"] == pytest.approx(56 / 17)
    assert found["symbol_to_word_ratio"] == pytest.approx(2 / 17)
    assert found["words_without_letters"] == pytest.approx(2 / 17)  # - and #1
    assert found["different_stop_words"] == 2
    assert found["stop_words"] == pytest.approx(6 / 16)
    assert found["words_in_capitals"] == pytest.approx(2 / 17)
    assert found["different_words"] == pytest.approx(9 / 16)
    assert found["lines_with_bullet"] == found["lines_with_ellipsis"] == 1 / 4
    assert found["lines_with_end"] == 2 / 4
    assert found["duplicate_lines"] == 1 / 4
    assert found["characters_in_duplicate_lines"] == pytest.approx(25 / (25 + 16 + 25 + 3))
    assert found["characters_in_duplicate_5grams"] == pytest.approx(19 / 49)
    assert found["characters_in_duplicate_10grams"] == 0


def test_entropy_and_top_ngrams():
    assert signals("a b a b")["entropy_of_words"] == pytest.approx(math.log(2))
    assert signals("one one one one")["characters_in_top_2gram"] == 1
    assert signals("one two six one two ten")["characters_in_top_2gram"] == pytest.approx(12 / 18)
    assert signals("one two six ten")["characters_in_top_2gram"] == 0


@pytest.mark.parametrize("text", ["", "   \n ", "!!! ...", "#"])
def test_texts_without_words_have_numbers(text):
    assert np.isfinite(list(signals(text).values())).all()
    assert signals("")["word_count"] == 0


@given(st.text())
def test_shares_are_between_0_and_1_for_any_text(text):
    found = signals(text)
    counts = ("word_count", "mean_word_length", "symbol_to_word_ratio", "different_stop_words")
    unbounded = {*counts, "entropy_of_words"}
    assert all(0 <= value <= 1 + 1e-12 for name, value in found.items() if name not in unbounded)
    assert all(found[name] >= 0 for name in unbounded)


def test_repeating_a_text_raises_what_counts_repetition():
    text = "some words that are not the same as any other words of this line.\n"
    once, often = signals(text), signals(text * 5)
    for name in NAMES:
        if "duplicate" in name:
            assert once[name] == 0 < often[name], name
