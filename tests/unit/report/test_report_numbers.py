import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.report.numbers import (
    decimals_for,
    fixed,
    lower_or_higher,
    percent,
    percentage_points,
    plain,
    sentence,
    tokens,
)


@pytest.mark.parametrize(
    ("weight", "decimals", "expected"),
    [
        (0.123, 1, "12.3\xa0%"),
        (0.0, 1, "0.0\xa0%"),
        (3e-5, 2, "<0.01\xa0%"),
        (0.9997, 1, ">99.9\xa0%"),
        (0.9997, 2, "99.97\xa0%"),
        (1.0, 0, "100\xa0%"),
        (1 - 1e-12, 1, "100.0\xa0%"),
    ],
)
def test_a_share_is_a_percentage(weight, decimals, expected):
    assert percent(weight, decimals) == expected


@given(st.floats(min_value=1e-300, max_value=1.0))
def test_a_positive_share_never_reads_as_zero(weight):
    assert percent(weight, 2) != percent(0.0, 2)


def test_a_change_has_a_sign_unless_it_is_none():
    assert percentage_points(0.01234) == "+1.23"
    assert percentage_points(-0.5) == "-50.00"
    assert percentage_points(1e-6) == "0"


@pytest.mark.parametrize(
    ("uncertainty", "expected"), [(0.19, 2), (0.012, 3), (12.0, 0), (3e-9, 6), (0.0, 3)]
)
def test_decimals_show_two_digits_of_the_uncertainty(uncertainty, expected):
    assert decimals_for(uncertainty) == expected


def test_an_infinite_uncertainty_still_has_decimals():
    assert decimals_for(math.inf) == 3


def test_zero_is_written_without_a_minus():
    assert fixed(-0.0001, 2) == "0.00"
    assert fixed(-0.01, 2) == "-0.01"


@pytest.mark.parametrize(
    ("difference", "expected"),
    [(-0.126, "0.13 lower"), (0.126, "0.13 higher"), (0.004, "equal"), (-0.004, "equal")],
)
def test_a_difference_is_said_in_words(difference, expected):
    assert lower_or_higher(difference, 2) == expected


def test_token_counts_are_said_as_people_say_them():
    assert [tokens(2.4e10), tokens(1.5e12), tokens(4096)] == ["24B", "1.5T", "4.1k"]


def test_a_remark_becomes_a_sentence():
    assert sentence("fitted at 1m") == "Fitted at 1m."
    assert sentence("Done.") == "Done."


def test_numbers_for_a_picture_keep_six_digits():
    assert plain([1.23456789, 1e-9]) == [1.23457, 1e-9]
