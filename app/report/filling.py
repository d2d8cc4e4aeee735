"""How a page is filled: template, style, scripts and data become one file that loads nothing."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

STATIC = Path(__file__).parent / "static"


def fill(name: str, context: Mapping[str, Any], script: str = "") -> str:
    """Return the page of the template `name`, with its style and the script of that name.

    Args:
        name: of the template.
        context: what it needs.
        script: name of another's script that does for this page too.

    The page's policy admits its two scripts by their digests. `data` of the context goes into the
    page as JSON, which holds no number that is not finite.

    Raises:
        ValueError: `data` has one.
    """
    scripts = [_static("plotly-basic.min.js"), _static(f"{script or name}.js")]
    environment = Environment(
        loader=PackageLoader("app.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment.get_template(f"{name}.html").render(
        context,
        style=_static("report.css"),
        scripts=scripts,
        script_digests=[_digest(script) for script in scripts],
    )


def _static(file_name: str) -> str:
    return (STATIC / file_name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """Return a script's digest as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
