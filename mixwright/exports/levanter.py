"""Levanter: `components`, `train_weights` and the block size of an `LmDataConfig`.

Source: marin-levanter 0.2.20, `levanter/data/mixture.py` [X]. A weight is the share of sequences.
A block holds `mixture_block_size` sequences (below 65,536); each domain gets the whole part of
`weight * block_size` of them and the largest domain the rest, so that a domain below one sequence
per block gets none at all.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

from mixwright.exports.canonical import PreparedMixture
from mixwright.exports.text import comment_header, decimal, yaml_string

BLOCK_SIZES = (2048, 4096, 8192, 16_384, 32_768)
TOLERANCE = 0.05
"""Largest relative error of a share, from cutting to whole sequences, without a warning."""


def check(prepared: PreparedMixture) -> list[str]:
    """Return which shares the block size cuts away."""
    size = block_size(prepared.values)
    warnings = []
    for domain, weight in prepared.values.items():
        count = math.floor(weight * size)
        if count == 0:
            warnings.append(
                f"{domain!r} gets no sequence at all: its share {decimal(weight)} is below one in "
                f"a block of {size}; leave it out or give it more weight"
            )
        elif _relative_error(weight, size) > TOLERANCE:
            warnings.append(
                f"{domain!r} gets {count} of {size} sequences, {count / size:.3g} instead of "
                f"{decimal(weight)}"
            )
    return warnings


def render(prepared: PreparedMixture, warnings: Sequence[str]) -> str:
    """Return the `data` section of a training YAML."""
    lines = [
        "data:",
        f"  mixture_block_size: {block_size(prepared.values)}",
        "  stop_strategy: restart",
        "  components:",
        *(
            f"    {yaml_string(domain)}: {{cache_dir: {yaml_string(prepared.path(domain))}}}"
            for domain in prepared.domains
        ),
        "  train_weights:",
        *(
            f"    {yaml_string(domain)}: {decimal(weight)}"
            for domain, weight in prepared.values.items()
        ),
    ]
    note = "# append new domains last: inserting one reshuffles those after it\n"
    return comment_header(prepared, warnings) + note + "\n".join(lines) + "\n"


def block_size(weights: Mapping[str, Decimal]) -> int:
    """Return the smallest block that keeps every share within `TOLERANCE`, else the largest."""
    for size in BLOCK_SIZES:
        if all(_relative_error(weight, size) <= TOLERANCE for weight in weights.values()):
            return size
    return BLOCK_SIZES[-1]


def _relative_error(weight: Decimal, size: int) -> float:
    expected = float(weight) * size
    return 1 - math.floor(expected) / expected
