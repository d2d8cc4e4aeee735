"""A flat JSON object, domain to weight, for loaders that watch a file.

Every unit is possible; which one the loader expects only its owner knows. The key `_mix` says where
the numbers come from: read every other key as a domain.
"""

import json
from collections.abc import Sequence

from mixwright.errors import InvalidInputError
from mixwright.exports.canonical import PreparedMixture
from mixwright.exports.text import metadata
from mixwright.exports.units import Unit

METADATA_KEY = "_mix"


def check(prepared: PreparedMixture) -> list[str]:
    """Return what the numbers do not say; nothing is known of the loader.

    Raises:
        InvalidInputError: a domain has the name of the metadata.
    """
    if METADATA_KEY in prepared.domains:
        raise InvalidInputError(
            f"domains: {METADATA_KEY!r} is where this format keeps its metadata; rename the domain",
            "domains",
        )
    if prepared.unit is Unit.KEPT_FRACTION and len(prepared.epochs) == len(prepared.domains):
        return [f"train for {max(prepared.epochs.values()):.6g} epochs of what is kept"]
    return []


def render(prepared: PreparedMixture, warnings: Sequence[str]) -> str:
    """Return the JSON object."""
    number = int if prepared.unit is Unit.SAMPLES else float
    weights = {domain: number(value) for domain, value in prepared.values.items()}
    return json.dumps({**weights, METADATA_KEY: metadata(prepared, warnings)}, indent=2) + "\n"
