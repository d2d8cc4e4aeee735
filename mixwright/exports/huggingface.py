"""Hugging Face: `datasets.interleave_datasets`, as Python text and as JSON.

Source: datasets 5.2.0 [X]. A probability is that of the next *example*: a document, unless every
source was tokenised and packed to one length before it is interleaved. They must sum to 1 within
1.5e-8. With `all_exhausted` the small sources are repeated until the largest one ends.
"""

import json
from collections.abc import Sequence

from mixwright.exports.canonical import PreparedMixture
from mixwright.exports.text import comment_header, decimal, metadata
from mixwright.exports.units import Unit

STOPPING_STRATEGY = "all_exhausted"


def check(prepared: PreparedMixture) -> list[str]:
    """Return what would make the loader draw another mixture."""
    warnings = []
    if prepared.unit is not Unit.DOCUMENT_PROBABILITY:
        warnings.append(
            f"{prepared.unit.value} is right only if every source is packed to sequences of one "
            "length before it is interleaved; otherwise export document_probability"
        )
    if prepared.mixture.seed is None:
        warnings.append("there is no seed, so every start draws in another order")
    return warnings


def render(prepared: PreparedMixture, warnings: Sequence[str]) -> str:
    """Return Python that builds the mixed dataset from one dataset per domain."""
    sources = "".join(
        f"    load_dataset({prepared.path(d)!r}, split='train', streaming=True),  # {d!r}\n"
        for d in prepared.domains
    )
    probabilities = "".join(
        f"    {decimal(prepared.values[d])},  # {d!r}\n" for d in prepared.domains
    )
    return (
        f"{comment_header(prepared, warnings, order=True)}"
        "from datasets import interleave_datasets, load_dataset\n\n"
        f"sources = [\n{sources}]\n"
        f"probabilities = [\n{probabilities}]\n"
        "mixture = interleave_datasets(\n"
        "    sources,\n"
        "    probabilities=probabilities,\n"
        f"    seed={prepared.mixture.seed!r},\n"
        f"    stopping_strategy={STOPPING_STRATEGY!r},\n"
        ")\n"
    )


def render_json(prepared: PreparedMixture, warnings: Sequence[str]) -> str:
    """Return the arguments of `interleave_datasets`, with the order of its datasets."""
    arguments = {
        "probabilities": [float(prepared.values[d]) for d in prepared.domains],
        "order": list(prepared.domains),
        "unit": prepared.unit.value,
        "seed": prepared.mixture.seed,
        "stopping_strategy": STOPPING_STRATEGY,
        "_mix": metadata(prepared, warnings),
    }
    return json.dumps(arguments, indent=2) + "\n"
