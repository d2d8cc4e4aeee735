"""Readers of run tables that others have written: files in, a study draft and its runs out."""

from mixwright.importers.base import ImportTable, Issue, Level
from mixwright.importers.olmix import import_olmix
from mixwright.importers.regmix import import_regmix
from mixwright.importers.table import TableOptions, import_table

__all__ = [
    "ImportTable",
    "Issue",
    "Level",
    "TableOptions",
    "import_olmix",
    "import_regmix",
    "import_table",
]
