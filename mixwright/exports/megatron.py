"""Megatron-LM: the blend list of `--data-path`, and the file of `--per-split-data-args-path`.

Source: megatron-core 0.16.1, `megatron/core/datasets/utils.py:get_blend_from_list` and
`blended_dataset.py` [X]. A weight is the share of fixed-length sequences. Weights must be above 0;
a list of odd length silently means "no weights"; there may be fewer than 32,767 sources.
"""

import json
import shlex
from collections.abc import Sequence

from mixwright.errors import InvalidInputError
from mixwright.exports.canonical import PreparedMixture
from mixwright.exports.text import comment_header, decimal, metadata

MAX_SOURCES = 32_767
FEW_SAMPLES = 2_000


def check(prepared: PreparedMixture) -> list[str]:
    """Return what Megatron's loader would stumble over.

    Raises:
        InvalidInputError: there are too many sources.
    """
    if len(prepared.domains) >= MAX_SOURCES:
        raise InvalidInputError(
            f"domains: Megatron blends fewer than {MAX_SOURCES} sources, this mixture has "
            f"{len(prepared.domains)}; merge some",
            "domains",
        )
    few = _domains_of_few_samples(prepared)
    if not few:
        return []
    return [
        f"{', '.join(map(repr, few))}: fewer than {FEW_SAMPLES} sequences are drawn; if Megatron "
        "raises IndexError, raise mid_level_dataset_surplus above 0.005"
    ]


def check_per_split(prepared: PreparedMixture) -> list[str]:
    """Return the warnings of `check`, and that validation data is missing."""
    return [
        *check(prepared),
        "valid and test are null, so nothing is validated; put lists of paths there",
    ]


def render(prepared: PreparedMixture, warnings: Sequence[str]) -> str:
    """Return a bash array of arguments, as Megatron's launch scripts have them."""
    lines = [f"  {weight} {shlex.quote(path)}" for weight, path in _blend(prepared)]
    header = comment_header(prepared, warnings, order=True)
    blend = "\n".join(lines)
    return f'{header}# use: "${{DATA_ARGS[@]}}"\nDATA_ARGS=(\n  --data-path\n{blend}\n)\n'


def render_per_split(prepared: PreparedMixture, warnings: Sequence[str]) -> str:
    """Return the JSON of the three splits; Megatron ignores the key `_mix`."""
    splits = {
        "train": [item for pair in _blend(prepared) for item in pair],
        "valid": None,
        "test": None,
        "_mix": metadata(prepared, warnings),
    }
    return json.dumps(splits, indent=2) + "\n"


def _blend(prepared: PreparedMixture) -> list[tuple[str, str]]:
    """Return (weight, path) of each source."""
    return [(decimal(prepared.values[d]), prepared.path(d)) for d in prepared.domains]


def _domains_of_few_samples(prepared: PreparedMixture) -> list[str]:
    budget, length = prepared.mixture.token_budget, prepared.mixture.sequence_length
    if budget is None or length is None:
        return []
    return [
        d for d, share in prepared.shares.items() if float(share) * budget / length < FEW_SAMPLES
    ]
