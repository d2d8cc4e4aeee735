"""Text that every Python installation has, sorted into natural domains.

Nothing is downloaded: the standard library's own files differ enough (prose, code, tables, C) for
a mixture to matter, and overlap enough (docstrings and documentation) for one to help another.
"""

import ast
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from pydoc_data.topics import topics

BYTES_PER_DOMAIN = 1_000_000
_STDLIB = Path(sysconfig.get_path("stdlib"))
_HEADERS = Path(sysconfig.get_path("include"))


def _modules() -> Iterator[str]:
    for path in sorted(_STDLIB.glob("*.py")) + sorted(_STDLIB.glob("asyncio/*.py")):
        yield path.read_text(encoding="utf-8", errors="replace")


def _code() -> Iterator[str]:
    for source in _modules():
        yield ast.unparse(_without_docstrings(ast.parse(source)))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, _DOCUMENTED) and body and _is_text(body[0]):
            body[0] = ast.Pass()
    return tree


def _docstrings() -> Iterator[str]:
    for source in _modules():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node)):
                yield text


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _documentation() -> Iterator[str]:
    yield from topics.values()


def _character_tables() -> Iterator[str]:
    for path in sorted((_STDLIB / "encodings").glob("*.py")):
        yield path.read_text(encoding="utf-8", errors="replace")


def _c_headers() -> Iterator[str]:
    for path in sorted(_HEADERS.rglob("*.h")):
        yield path.read_text(encoding="utf-8", errors="replace")


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
DOMAINS: dict[str, Callable[[], Iterator[str]]] = {
    "code": _code,
    "docstrings": _docstrings,
    "documentation": _documentation,
    "character_tables": _character_tables,
    "c_headers": _c_headers,
}


def read_domains() -> dict[str, bytes]:
    """Return up to `BYTES_PER_DOMAIN` of UTF-8 per domain; domains that are absent are left out.

    Some installations come without C headers.
    """
    texts = {name: "\n\n".join(documents()).encode() for name, documents in DOMAINS.items()}
    return {name: text[:BYTES_PER_DOMAIN] for name, text in texts.items() if len(text) > 100_000}
