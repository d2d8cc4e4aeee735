"""Text that every Python installation has, sorted into natural domains.

Nothing is downloaded: the standard library's own files differ enough (prose, code, tables, C) for
a mixture to matter, overlap enough (docstrings, comments and documentation) for one to help
another, and one of them is scarce.
"""

import ast
import hashlib
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from pydoc_data.topics import topics

from mixwright.corpus.build import build_store
from mixwright.corpus.store import TokenStore, open_store

BYTES_PER_DOMAIN = 1_500_000
LEAST_BYTES = 300_000
_VERSION = 1  # of what is written here
_STDLIB = Path(sysconfig.get_path("stdlib"))
_HEADERS = Path(sysconfig.get_path("include"))
_LEFT_OUT = ("encodings", "idle_test", "site-packages", "test", "tests")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def python_corpus(
    folder: Path, progress: Callable[[str, int], None] = lambda _domain, _size: None
) -> TokenStore:
    """Return a store of bytes with up to 1.5 MB per domain, built on the first call.

    It is kept in `folder` under this interpreter's version, which its text depends on. Domains of
    less than 300 kB are left out: some installations come without C headers.
    """
    version = ".".join(map(str, sys.version_info[:3]))
    place = hashlib.sha256(str(_STDLIB).encode()).hexdigest()[:8]
    out = folder / f"python-{version}-{place}-{_VERSION}"
    if out.exists():
        return open_store(str(out))
    texts = read_domains()
    return build_store(
        {name: (lambda some=some: some) for name, some in texts.items()},  # type: ignore[misc]  # mypy and defaults of lambdas
        out,
        progress=progress,
    )


def read_domains() -> dict[str, list[str]]:
    """Return documents by domain, as many as fit into `BYTES_PER_DOMAIN`."""
    code, docstrings, comments = _of_modules()
    domains = {
        "code": code,
        "docstrings": docstrings,
        "comments": comments,
        "documentation": _first(iter(topics.values())),
        "character_tables": _first(_texts(_STDLIB / "encodings", "*.py")),
        "c_headers": _first(_texts(_HEADERS, "**/*.h")),
    }
    sizes = {name: sum(len(text.encode()) for text in texts) for name, texts in domains.items()}
    return {name: texts for name, texts in domains.items() if sizes[name] >= LEAST_BYTES}


def _of_modules() -> tuple[list[str], list[str], list[str]]:
    """Return code, docstrings and comments of the standard library, a module at a time."""
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    left = [BYTES_PER_DOMAIN] * 3
    for source in _texts(_STDLIB, "**/*.py", but=_LEFT_OUT):
        for kind, text in enumerate(_dissect(source)):
            size = len(text.encode())
            if text and size <= left[kind]:
                parts[kind].append(text)
                left[kind] -= size
        if max(left) < 10_000:
            break
    return parts


def _dissect(source: str) -> tuple[str, str, str]:
    """Return a module's code, its docstrings, and its comments that stand on lines of their own."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source)
    except (SyntaxError, ValueError):  # examples of what must not compile
        return "", "", ""
    lines = source.splitlines()
    docstrings: list[str] = []
    taken: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node)):
            docstrings.append(text)
            taken.update(range(node.body[0].lineno - 1, node.body[0].end_lineno or 0))
    is_comment = [line.lstrip().startswith("#") for line in lines]
    left_out = taken | {i for i, comment in enumerate(is_comment) if comment}
    code = [line for i, line in enumerate(lines) if i not in left_out and line.strip()]
    comments = [line.strip().lstrip("#").strip() for i, line in enumerate(lines) if is_comment[i]]
    return "\n".join(code), "\n\n".join(docstrings), "\n".join(comments)


def _texts(folder: Path, pattern: str, but: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield files in an order that is fixed but mixes subjects."""
    found = [
        path for path in folder.glob(pattern) if not set(path.relative_to(folder).parts) & set(but)
    ]
    for path in sorted(found, key=lambda path: hashlib.sha256(path.name.encode()).digest()):
        yield path.read_text(encoding="utf-8", errors="replace")


def _first(texts: Iterator[str]) -> list[str]:
    kept, left = [], BYTES_PER_DOMAIN
    for text in texts:
        left -= len(text.encode())
        if left < 0:
            break
        kept.append(text)
    return kept
