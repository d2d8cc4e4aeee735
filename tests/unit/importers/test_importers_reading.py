import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixwright.arrays import LARGEST_NUMBER
from mixwright.errors import InvalidInputError
from mixwright.importers.base import Level, Notes
from mixwright.importers.reading import parse_number, read_sheet


def read(tmp_path, content, *, encoding="utf-8"):
    path = tmp_path / "runs.csv"
    path.write_bytes(content.encode(encoding))
    notes = Notes()
    return read_sheet(path, notes), notes


def cells(sheet):
    return [dict(row.cells) for row in sheet.rows]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_separator_line_ends_and_byte_order_mark_change_nothing(
    tmp_path, separator, newline, mark, end
):
    lines = ["id,web,code", "", "a,0.7,0.3", "b,0.2,0.8"]
    content = mark + newline.join(line.replace(",", separator) for line in lines) + end

    sheet, notes = read(tmp_path, content)

    assert sheet.columns == ("id", "web", "code")
    assert cells(sheet) == [
        {"id": "a", "web": "0.7", "code": "0.3"},
        {"id": "b", "web": "0.2", "code": "0.8"},
    ]
    assert [row.line for row in sheet.rows] == [3, 4]
    assert notes.rows_read == {"runs.csv": 2}
    assert notes.issues == []


def test_rows_of_separators_alone_are_blank(tmp_path):
    sheet, notes = read(tmp_path, "id,web\na,1\n,\n ,\n")

    assert cells(sheet) == [{"id": "a", "web": "1"}]
    assert notes.issues == []


def test_a_quoted_separator_belongs_to_the_cell(tmp_path):
    sheet, _ = read(tmp_path, 'id,name\na,"web, filtered"\n')

    assert sheet.rows[0].cells["name"] == "web, filtered"


def test_a_repeated_column_name_is_an_error_and_the_first_column_counts(tmp_path):
    sheet, notes = read(tmp_path, "id,web,web\na,1,2\n")

    (issue,) = notes.issues
    assert (
        issue.level,
        issue.file,
        issue.row,
        issue.column,
    ) == (Level.ERROR, "runs.csv", 1, "web")
    assert cells(sheet) == [{"id": "a", "web": "1"}]


@pytest.mark.parametrize("row", ["a,0.5", "a,0,5,0,5"])
def test_a_row_of_another_width_than_the_header_is_an_error(tmp_path, row):
    sheet, notes = read(tmp_path, f"id,web,code\nb,0.5,0.5\n{row}\n")

    (issue,) = notes.issues
    assert (issue.level, issue.row) == (Level.ERROR, 3)
    assert [row.cells["id"] for row in sheet.rows] == ["b"]


def test_an_unnamed_column_is_dropped_and_said_to_be(tmp_path):
    sheet, notes = read(tmp_path, ",run,web\n0,a,1\n")

    assert sheet.columns == ("run", "web")
    assert notes.dropped_columns == {"runs.csv": ("",)}
    assert [issue.level for issue in notes.issues] == [Level.INFO]


def test_decimal_commas_are_read_where_they_can_be_nothing_else(tmp_path):
    sheet, _ = read(tmp_path, "id;web;loss\na;0,75;3,125\nb;1;1,234\n")

    assert [row.number("web") for row in sheet.rows] == [0.75, 1.0]
    assert [row.number("loss") for row in sheet.rows] == [3.125, 1.234]


def test_a_comma_that_may_group_thousands_is_refused(tmp_path):
    sheet, _ = read(tmp_path, "id;web;loss\na;1;1,234\n")

    with pytest.raises(InvalidInputError, match=r"'1,234' has a comma .* write a point"):
        sheet.rows[0].number("loss")


def test_commas_are_refused_in_a_file_that_also_has_decimal_points(tmp_path):
    sheet, _ = read(tmp_path, "id;web;loss\na;0,5;3.25\n")

    assert sheet.rows[0].number("loss") == 3.25
    with pytest.raises(InvalidInputError, match="'0,5'"):
        sheet.rows[0].number("web")


@pytest.mark.parametrize(
    "cell", ["", "abc", "nan", "NaN", "inf", "-inf", "1e999", "1_000", "0x10", "1,234,567", "٣"]
)
@pytest.mark.parametrize("decimal_comma", [True, False])
def test_what_is_no_finite_number_is_refused(cell, decimal_comma):
    with pytest.raises(InvalidInputError):
        parse_number(cell, decimal_comma=decimal_comma)


@given(st.floats(-LARGEST_NUMBER, LARGEST_NUMBER, exclude_min=True, exclude_max=True))
def test_every_printed_float_reads_back_exactly(value):
    assert value == parse_number(repr(value), decimal_comma=False)
    with_comma = parse_number(repr(value).replace(".", ","), decimal_comma=True)
    assert value == with_comma
    assert math.copysign(1, value) == math.copysign(1, with_comma)


@pytest.mark.parametrize("cell", ["1e15", "-1e300"])
def test_what_the_server_would_refuse_is_refused_here(cell):
    with pytest.raises(InvalidInputError, match="1e\\+15 or more"):
        parse_number(cell, decimal_comma=False)


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_an_empty_file_is_refused_by_name(tmp_path, content):
    with pytest.raises(InvalidInputError, match=r"runs\.csv is empty"):
        read(tmp_path, content)


def test_a_file_in_another_encoding_is_refused_by_name(tmp_path):
    with pytest.raises(InvalidInputError, match=r"runs\.csv is not UTF-8"):
        read(tmp_path, "id,web\na,1\n", encoding="utf-16")


def test_a_missing_file_is_refused_by_path(tmp_path):
    with pytest.raises(InvalidInputError, match=r"nowhere\.csv: No such file"):
        read_sheet(tmp_path / "nowhere.csv", Notes())


def test_a_quote_left_open_is_refused_with_its_line(tmp_path):
    with pytest.raises(InvalidInputError, match=r"runs\.csv, line 3"):
        read(tmp_path, 'id,web\na,1\nb,"1\n')
