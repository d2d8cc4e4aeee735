"""OLMo-core: the sources of a `SourceMixtureList`.

Source: ai2-olmo-core 3.0.0, `olmo_core/data/source_mixture.py` [X]. `target_ratio` is the share of
tokens, in (0, 1], and the ratios sum to 1. A source is refused unless its tokens times
`max_repetition_ratio` (at least 1) cover what is asked of it.
"""

import math
from collections.abc import Sequence

from mixwright.exports.canonical import PreparedMixture
from mixwright.exports.text import comment_header, decimal, whole, yaml_string

HEADROOM = 1.02
"""Over the expected epochs, because OLMo-core rounds up to whole training steps."""


def check(prepared: PreparedMixture) -> list[str]:
    """Return which sources OLMo-core may refuse for want of tokens."""
    unknown = [domain for domain in prepared.domains if domain not in prepared.epochs]
    if not unknown:
        return []
    names = ", ".join(map(repr, unknown))
    return [
        f"{names}: epochs are not known, so max_repetition_ratio is 1.0 and OLMo-core stops with "
        '"Insufficient tokens" if the source is smaller than its share; give tokens and '
        "token_budget"
    ]


def render(prepared: PreparedMixture, warnings: Sequence[str]) -> str:
    """Return the YAML of `SourceMixtureList.from_yaml`."""
    lines = ["sources:"]
    for domain in prepared.domains:
        lines += [
            f"  - source_name: {yaml_string(domain)}",
            f"    target_ratio: {decimal(prepared.values[domain])}",
            f"    max_repetition_ratio: {max_repetition_ratio(prepared.epochs.get(domain, 0.0))}",
            f"    paths: [{yaml_string(prepared.path(domain))}]",
        ]
    budget = prepared.mixture.token_budget
    hint = ""
    if budget is not None:
        hint = f"# SourceMixtureDatasetConfig(requested_tokens={whole(budget)}, ...)\n"
    return comment_header(prepared, warnings) + hint + "\n".join(lines) + "\n"


def max_repetition_ratio(epochs: float) -> float:
    """Return the cap for a source that is passed over `epochs` times: 2 % above, never below 1."""
    return max(1.0, math.ceil(epochs * HEADROOM * 100) / 100)
