"""What all exported texts share: the header, metadata, and how names and numbers are written."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from mixwright.exports.canonical import PreparedMixture, as_count


def decimal(value: Decimal) -> str:
    """Return a number without exponent and with a decimal point, as every parser reads it.

    (YAML 1.1 takes "1e-06" for a string.)
    """
    text = f"{value:f}"
    return text if "." in text else f"{text}.0"


def yaml_string(text: str) -> str:
    """Return a double-quoted YAML scalar; what does not print is escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08X}" for char in quoted)


def whole(number: float) -> str:
    """Return a count of tokens or samples as digits."""
    return f"{number:.0f}"


def comment_header(
    prepared: PreparedMixture, warnings: Sequence[str], *, order: bool = False
) -> str:
    """Return the lines, each starting with "#", that say where the numbers come from.

    Args:
        prepared: the mixture.
        warnings: repeated in the text, which may be read without the answer it came in.
        order: whether the numbers are positional and the order of the domains must be told.
    """
    facts = metadata(prepared, warnings, order=order)
    lines = []
    for key, value in facts.items():
        if key == "warnings":
            lines += [f"# warning: {warning}" for warning in warnings]
        elif value not in (None, {}):
            # JSON keeps every name on its line, so none can end the comment
            lines.append(f"# {key}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def metadata(
    prepared: PreparedMixture, warnings: Sequence[str], *, order: bool = True
) -> dict[str, Any]:
    """Return where the numbers come from, JSON-ready."""
    mixture = prepared.mixture
    facts: dict[str, Any] = {
        "mixture_id": mixture.mixture_id,
        "version": mixture.version,
        "unit": prepared.unit.value,
        "seed": mixture.seed,
        "token_budget": as_count(mixture.token_budget),
        "sha256": prepared.sha256,
    }
    if order:
        facts["order"] = list(prepared.domains)
    facts["expected_epochs"] = {d: round(value, 4) for d, value in prepared.epochs.items()}
    facts["warnings"] = list(warnings)
    return facts
