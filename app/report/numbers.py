"""How numbers are written on the page: to the digits that their uncertainty supports."""

import math
from collections.abc import Iterable

SPACE = "\N{NO-BREAK SPACE}"
ABSENT = "\N{EN DASH}"

ROUNDING = 1e-9  # weights sum to one within this


def percent(weight: float, decimals: int = 1) -> str:
    """Return a share as a percentage; a share of almost nothing or almost all says "almost"."""
    smallest = 10.0 ** -(decimals + 2)
    if 0 < weight < smallest / 2:
        return f"<{100 * smallest:.{decimals}f}{SPACE}%"
    if 1 - smallest / 2 < weight < 1 - ROUNDING:
        return f">{100 * (1 - smallest):.{decimals}f}{SPACE}%"
    return f"{100 * weight:.{decimals}f}{SPACE}%"


def percentage_points(difference: float) -> str:
    """Return a difference of two shares with its sign."""
    if abs(difference) < 5e-5:
        return "0"
    return f"{100 * difference:+.2f}"


def decimals_for(uncertainty: float, most: int = 6) -> int:
    """Return how many decimals show `uncertainty` to two significant digits.

    Zero, or something that is not a number, gives three decimals.
    """
    if not math.isfinite(uncertainty) or uncertainty <= 0:
        return 3
    return min(most, max(0, 1 - math.floor(math.log10(uncertainty))))


def fixed(value: float | None, decimals: int) -> str:
    """Return `value` with a fixed number of decimals, a dash where there is none."""
    if value is None:
        return ABSENT
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


def lower_or_higher(difference: float, decimals: int) -> str:
    """Return a difference in words: 0.12 lower."""
    size = fixed(abs(difference), decimals)
    if float(size) == 0:
        return "equal"
    return f"{size} {'lower' if difference < 0 else 'higher'}"


def sentence(text: str) -> str:
    """Return a remark with a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def significant(value: float | None, digits: int = 3) -> str:
    """Return `value` to so many significant digits, a dash where there is none."""
    if value is None:
        return ABSENT
    return f"{value:.{digits}g}"


def tokens(count: float) -> str:
    """Return a token count as people say it: 24B, 1.5T."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.3g}"


def plain(values: Iterable[float], digits: int = 6) -> list[float]:
    """Return numbers rounded to so many significant digits: what a picture needs, in less text."""
    return [float(f"{value:.{digits}g}") for value in values]
