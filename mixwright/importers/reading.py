"""Reads delimited text as spreadsheets, Python and R write it, without guessing at numbers.

The separator is the one of comma, semicolon and tab that splits the header into most cells. A
byte order mark, blank lines, blanks around cells and a missing last newline are harmless. Numbers
have a decimal point; decimal commas are taken only where they cannot be anything else.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mixwright.arrays import LARGEST_NUMBER
from mixwright.errors import InvalidInputError
from mixwright.importers.base import Notes

SEPARATORS = (",", ";", "\t")

_POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Row:
    """A data row.

    Attributes:
        file: name of the file.
        line: its line in the file, the header being line 1.
        cells: text by column name, stripped of blanks.
        decimal_comma: whether "0,5" is a number in this file.
    """

    file: str
    line: int
    cells: Mapping[str, str]
    decimal_comma: bool = False

    def number(self, column: str) -> float:
        """Return a cell as a finite float.

        Raises:
            InvalidInputError: the cell is not a finite number, or its comma is ambiguous.
        """
        return parse_number(self.cells[column], decimal_comma=self.decimal_comma)

    def has_number(self, column: str) -> bool:
        """Return whether `number` would give one."""
        try:
            self.number(column)
        except InvalidInputError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Sheet:
    """A delimited file as text.

    Attributes:
        file: name of the file.
        columns: names in file order, unique; unnamed columns are left out.
        rows: non-blank data rows in file order.
    """

    file: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_sheet(path: Path, notes: Notes) -> Sheet:
    """Read a delimited file.

    Rows with more or fewer cells than the header, and repeated column names, become errors in
    the notes; such rows and the later of such columns are left out.

    Raises:
        InvalidInputError: the file cannot be read, is not UTF-8, or has no header.
    """
    records = _records(_text(path), path.name)
    if not records:
        raise InvalidInputError(f"{path.name} is empty; its first line must name the columns")
    names = [cell.strip() for cell in records[0][1]]
    positions = _column_positions(names, path.name, notes)
    rows = [
        (line, {name: cells[position].strip() for name, position in positions.items()})
        for line, cells in _full_rows(records, path.name, notes)
    ]
    notes.rows_read[path.name] = len(records) - 1
    unnamed = [name for name in names if not name]
    if unnamed:
        notes.drop_columns(path.name, unnamed, "no name")
    decimal_comma = _has_decimal_commas(cell for _, cells in rows for cell in cells.values())
    return Sheet(
        path.name,
        tuple(positions),
        tuple(Row(path.name, line, cells, decimal_comma) for line, cells in rows),
    )


def parse_number(cell: str, *, decimal_comma: bool) -> float:
    """Return a cell as a finite float.

    Raises:
        InvalidInputError: the cell is not a finite number, or its comma is ambiguous.
    """
    if decimal_comma and _COMMA.fullmatch(cell):
        return _finite(cell.replace(",", "."), cell)
    if _POINT.fullmatch(cell):
        return _finite(cell, cell)
    if _COMMA.fullmatch(cell) or _THOUSANDS.fullmatch(cell):
        raise InvalidInputError(
            f"{cell!r} has a comma that may be a decimal or a thousands mark; write a point"
        )
    raise InvalidInputError(f"{cell!r} is not a finite number")


def _finite(text: str, cell: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidInputError(f"{cell!r} is not a finite number")
    if abs(value) >= LARGEST_NUMBER:
        raise InvalidInputError(
            f"{cell!r} is {LARGEST_NUMBER:g} or more, which no metric, weight or cost is"
        )
    return value


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}", "path") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{path.name} is not UTF-8 (byte {error.start}); save it as CSV in UTF-8", "path"
        ) from error


def _records(text: str, file: str) -> list[tuple[int, list[str]]]:
    """Return (line, cells) of every non-blank line."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    # strict, so that a quote left open is an error and does not swallow the rest of the file
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(header), strict=True)
    try:
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InvalidInputError(f"{file}, line {reader.line_num}: {error}", "path") from error


def _separator(header: str) -> str:
    counts = {mark: len(next(csv.reader([header], delimiter=mark), [])) for mark in SEPARATORS}
    return max(SEPARATORS, key=lambda mark: counts[mark])


def _column_positions(names: list[str], file: str, notes: Notes) -> dict[str, int]:
    positions: dict[str, int] = {}
    for position, name in enumerate(names):
        if name in positions:
            notes.error(
                f"two columns are named {name!r}", "rename or remove one", file, 1, column=name
            )
        elif name:
            positions[name] = position
    return positions


def _full_rows(
    records: list[tuple[int, list[str]]], file: str, notes: Notes
) -> Iterable[tuple[int, list[str]]]:
    width = len(records[0][1])
    for line, cells in records[1:]:
        if len(cells) == width:
            yield line, cells
        else:
            notes.error(
                f"{len(cells)} cells where the header has {width}",
                "quote cells that contain the separator; write decimals with a point",
                file,
                line,
            )


def _has_decimal_commas(cells: Iterable[str]) -> bool:
    """Return whether commas in the numbers of a file can only be decimal marks.

    So it is if no number has a point and some number has a comma where no thousands mark may
    stand ("0,5", "3,14"); "1,234" alone proves nothing.
    """
    proven = False
    for cell in cells:
        if "." in cell and _POINT.fullmatch(cell):
            return False
        if _COMMA.fullmatch(cell) and not _THOUSANDS.fullmatch(cell):
            proven = True
    return proven
