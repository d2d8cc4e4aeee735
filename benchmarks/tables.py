"""How benchmarks write what they measured: sections of docs/benchmarks.md."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """One line about the machine, for tables."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{os.cpu_count()} × {model}, {platform.system()}, Python {platform.python_version()}"


def versions(*packages: str) -> str:
    """The versions of `packages`, for tables."""
    return ", ".join(f"{package} {version(package)}" for package in packages)


@dataclass(frozen=True)
class Section:
    """A titled table with words around it."""

    title: str
    words: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    notes: str = ""

    def markdown(self) -> str:
        """The section as Markdown."""
        lines = [f"## {self.title}", "", self.words, "", _row(self.header)]
        lines += [_row(["---"] * len(self.header)), *map(_row, self.rows)]
        return "\n".join([*lines, *(["", self.notes] if self.notes else []), ""])


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
