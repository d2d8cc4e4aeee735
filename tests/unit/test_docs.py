"""What is registered is documented, and what documents import is there."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from mixwright.exports import EXPORTS
from mixwright.exports.staged import STAGED
from mixwright.recommend import RECOMMENDERS
from mixwright.schedules import PLANNERS
from mixwright.surrogates import SURROGATES
from mixwright.swarm import SWARM_DESIGNS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    page
    for page in (DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md")))
    if "```python" in page.read_text()
]


@pytest.mark.parametrize("name", sorted(SURROGATES))
def test_every_surrogate_has_a_page_with_its_source_departures_and_figures(name):
    page = (DOCS / "surrogates" / f"{name}.md").read_text().lower()
    for heading in ("## when to use it", "## source", "## departures", "## measured"):
        assert heading in page, heading


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("exports.md", EXPORTS),
        ("recommendations.md", RECOMMENDERS),
        ("constraints.md", SWARM_DESIGNS),
        ("schedules.md", PLANNERS),
        ("schedules.md", STAGED),
    ],
)
def test_every_name_of_a_table_is_on_its_page(page, names):
    text = (DOCS / page).read_text()
    assert [name for name in names if f"`{name}`" not in text] == []


def imported_in(page):
    """Yield module and name of what a page's code imports from us."""
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mixwright"):
                yield from ((node.module, one.name) for one in node.names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_imports_is_there(page):
    for module, name in imported_in(page):
        assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"
