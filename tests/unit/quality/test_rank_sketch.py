import numpy as np
import pytest
from geometry_cases import SEEDS
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright.errors import InvalidInputError
from mixwright.quality import ranks
from mixwright.quality.ranks import RankSketch, RankTable


def _true_ranks(merged, tokens):
    return np.array([tokens[merged <= one].sum() for one in merged]) / tokens.sum()


def _in_parts(merged, tokens, order, parts):
    pieces = [RankSketch.of(merged[rows], tokens[rows]) for rows in np.array_split(order, parts)]
    total = pieces[0]
    for piece in pieces[1:]:
        total = total.merge(piece)
    return total


SCORES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "ties": lambda rng, n: rng.integers(-2, 3, n).astype(float),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n) * 1e6,
    "far from zero": lambda rng, n: 1e9 + rng.random(n),
    "one atom": lambda rng, n: np.where(rng.random(n) < 0.4, 0.5, rng.random(n)),
    "all the same": lambda rng, n: np.zeros(n),
}


@pytest.mark.parametrize("kind", sorted(SCORES))
def test_small_samples_have_exact_ranks(kind):
    rng = np.random.default_rng(0)
    merged, tokens = SCORES[kind](rng, 1_500), rng.integers(1, 900, 1_500)
    table = RankSketch.of(merged, tokens).to_table()
    np.testing.assert_allclose(table.rank(merged), _true_ranks(merged, tokens), rtol=1e-12)


@pytest.mark.parametrize("kind", sorted(SCORES))
@settings(deadline=None, max_examples=15)
@given(seed=SEEDS, parts=st.integers(1, 9))
def test_a_full_sketch_keeps_to_its_error_and_knows_no_order(kind, seed, parts):
    rng = np.random.default_rng(seed)
    merged, tokens = SCORES[kind](rng, 2_000), rng.integers(1, 900, 2_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "LARGEST_SKETCH", 300)
        whole = RankSketch.of(merged, tokens)
        divided = _in_parts(merged, tokens, rng.permutation(2_000), parts)
    for name in ("low", "high", "tokens", "dropped"):
        np.testing.assert_array_equal(getattr(divided, name), getattr(whole, name))
    assert len(whole.low) <= 300
    true = _true_ranks(merged, tokens)
    gaps = whole.to_table().rank(merged) - true
    assert gaps.min() >= -1e-12
    assert gaps.max() <= whole.error + 1e-12
    coarse = whole.to_table(points=50).rank(merged) - true
    assert coarse.min() >= -2 / 50
    assert coarse.max() <= whole.error + 1e-12


def test_a_million_normal_scores():
    rng = np.random.default_rng(1)
    merged, tokens = rng.normal(size=1_000_000), rng.integers(50, 3_000, 1_000_000)
    sketch = _in_parts(merged, tokens, np.arange(1_000_000), 4)
    assert sketch.error < 1e-4
    order = np.argsort(merged)
    true = np.cumsum(tokens[order]) / tokens.sum()
    gaps = sketch.to_table().rank(merged[order]) - true
    assert np.abs(gaps).max() <= 2 / ranks.POINTS + 1e-4
    assert np.abs(gaps[true < 0.1]).max() < 5e-4  # where thresholds are


def test_zeros_of_either_sign_are_the_same_score():
    table = RankSketch.of(np.array([-0.0, 0.0, 1.0]), np.array([1, 1, 2])).to_table()
    np.testing.assert_array_equal(table.rank(np.array([-0.0, 0.0, 1.0])), [0.5, 0.5, 1.0])


def test_scores_of_no_sampled_document_rank_with_the_next_better_one():
    table = RankTable(np.array([1.0, 2.0]), np.array([0.5, 1.0]))
    np.testing.assert_array_equal(table.rank(np.array([0.9, 1.5, 9.0])), [0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("values", "shares"),
    [
        ([], []),
        ([0.0, 0.0], [0.5, 1.0]),
        ([0.0, 1.0], [0.6, 0.5]),
        ([0.0, 1.0], [0.5, 0.9]),
        ([0.0], [0.5, 1.0]),
        ([np.nan], [1.0]),
    ],
)
def test_what_is_no_table_is_refused(values, shares):
    with pytest.raises(InvalidInputError, match="rising"):
        RankTable(np.array(values), np.array(shares))
