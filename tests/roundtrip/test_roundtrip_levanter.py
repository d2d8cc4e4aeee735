"""Levanter's rule for filling a block, written down again: its own code needs jax and haliax.

Each domain gets int(weight x block) sequences of a block and the largest domain the rest
(marin-levanter 0.2.20, `MixtureDataset._compute_expected_counts_per_block`).
"""

from dataclasses import replace

import pytest
import yaml

from mixwright.exports import export
from mixwright.exports.canonical import canonical_shares
from mixwright.exports.staged import export_stages
from mixwright.exports.stages import ExportedSchedule, ExportedStage


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


def test_stages_of_a_schedule_are_drawn_at_their_steps_and_blocks(mixture):
    """Levanter's rule for stages: a start in sequences, of whole blocks, and counts by block."""
    batch, turn, steps = 1024, 301, 500  # a step that begins within a block
    tokens = batch * 4096
    backwards = reversed(mixture.weights.values())
    later = replace(mixture, weights=dict(zip(mixture.domains, backwards, strict=True)))
    stages = tuple(
        ExportedStage(
            name,
            replace(one, token_budget=(end - first) * tokens),
            first,
            end - first,
            first * tokens,
            end * tokens,
            dict.fromkeys(("batch_tokens", "learning_rate", "averaging")),
        )
        for name, one, first, end in (("a", mixture, 0, turn), ("b", later, turn, steps))
    )
    schedule = ExportedSchedule("sch_1", stages, steps * tokens, 4096, ((0, 0, tokens),), {}, 42)
    data = yaml.safe_load(export_stages(schedule, "levanter").files[0].text)["data"]

    block = data["mixture_block_size"]
    starts = [step * batch for step, _ in data["train_weights"]]
    assert all(start % block == 0 for start in starts)
    assert abs(starts[1] - turn * batch) < block
    for (_, weights), stage in zip(data["train_weights"], stages, strict=True):
        assert set(weights) <= set(data["components"])
        counts = sequences_per_block(weights, block)
        for domain, weight in weights.items():
            share = canonical_shares(stage.mixture)[0][domain]
            assert weight == pytest.approx(float(share), abs=1e-12)
            assert counts[domain] / block == pytest.approx(
                weight, abs=max(60 / block, 0.06 * weight)
            )
