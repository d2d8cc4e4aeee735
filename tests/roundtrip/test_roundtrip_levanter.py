"""Levanter's rule for filling a block, written down again: its own code needs jax and haliax.

Each domain gets int(weight x block) sequences of a block and the largest domain the rest
(marin-levanter 0.2.20, `MixtureDataset._compute_expected_counts_per_block`).
"""

import pytest
import yaml

from mixwright.exports import export
from mixwright.exports.canonical import canonical_shares


def sequences_per_block(weights, block_size):
    counts = {domain: int(weight * block_size) for domain, weight in weights.items()}
    counts[max(counts, key=counts.get)] += block_size - sum(counts.values())
    return counts


def test_a_block_holds_the_mixture_but_for_what_the_warnings_name(mixture):
    result = export(mixture, "levanter")
    data = yaml.safe_load(result.text)["data"]
    shares, _ = canonical_shares(mixture)

    counts = sequences_per_block(data["train_weights"], data["mixture_block_size"])

    assert list(data["train_weights"]) == list(data["components"]) == list(shares)
    for domain, share in shares.items():
        realised = counts[domain] / data["mixture_block_size"]
        assert realised == pytest.approx(float(share), rel=0.06) or any(
            warning.startswith(repr(domain)) for warning in result.warnings
        )
    assert any("gets no sequence" in warning for warning in result.warnings) == (
        0 in counts.values()
    )
