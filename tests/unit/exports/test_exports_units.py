"""The running example: 4 domains, 100,000,595,968 tokens in sequences of 4,096."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mixwright.errors import InvalidInputError, NotOnSimplexError
from mixwright.exports import ExportedMixture, Unit, export
from mixwright.exports.canonical import MIN_WEIGHT, prepare
from mixwright.exports.units import UNITS, apportion

EXAMPLE = ExportedMixture(
    mixture_id="mx_01",
    version=3,
    domains=("web", "code", "math", "wiki"),
    weights={"web": 0.55, "code": 0.25, "math": 0.12, "wiki": 0.08},
    tokens={"web": 900e9, "code": 60e9, "math": 8e9, "wiki": 5e9},
    mean_document_tokens={"web": 1100, "code": 2300, "math": 1600, "wiki": 700},
    token_budget=100_000_595_968,
    sequence_length=4096,
    seed=42,
)

positive_weights = arrays(
    np.float64, st.integers(1, 70), elements=st.floats(0.0, 1.0, allow_subnormal=False)
).filter(lambda weights: weights.sum() > 1e-3)


def mixture_of(weights, **facts):
    shares = weights / weights.sum()
    domains = tuple(f"d{i}" for i in range(len(shares)))
    return ExportedMixture(
        "mx", 1, domains, dict(zip(domains, map(float, shares), strict=True)), **facts
    )


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("token_share", [0.55, 0.25, 0.12, 0.08]),
        ("sequence_share", [0.55, 0.25, 0.12, 0.08]),
        # 0.55/1100 : 0.25/2300 : 0.12/1600 : 0.08/700, divided by their sum
        (
            "document_probability",
            [0.626581046896, 0.136213271064, 0.093987157035, 0.143218525005],
        ),
        ("row_share", [0.626581046896, 0.136213271064, 0.093987157035, 0.143218525005]),
        # share x 100,000,595,968 / tokens
        ("epochs", [0.0611114753, 0.4166691499, 1.5000089395, 1.6000095355]),
        # epochs / 1.6000095355
        ("kept_fraction", [0.038194444444, 0.260416666667, 0.9375, 1.0]),
        # share x 24,414,208 = 13427814.4, 6103552, 2929704.96, 1953136.64
        ("samples", [13_427_814, 6_103_552, 2_929_705, 1_953_137]),
    ],
)
def test_each_unit_of_the_running_example(unit, expected):
    values = prepare(EXAMPLE, Unit(unit)).values

    assert list(values) == ["web", "code", "math", "wiki"]
    assert [float(value) for value in values.values()] == pytest.approx(expected, rel=1e-9)


def test_document_probabilities_give_back_the_token_shares():
    probabilities = prepare(EXAMPLE, Unit.DOCUMENT_PROBABILITY).values

    tokens = {d: float(p) * EXAMPLE.mean_document_tokens[d] for d, p in probabilities.items()}
    shares = [tokens[d] / sum(tokens.values()) for d in EXAMPLE.domains]

    assert shares == pytest.approx([0.55, 0.25, 0.12, 0.08], abs=1e-11)


def test_what_is_kept_for_the_most_repeated_domain_s_epochs_is_the_budget():
    prepared = prepare(EXAMPLE, Unit.KEPT_FRACTION)

    passes = max(prepared.epochs.values())
    trained = [float(prepared.values[d]) * EXAMPLE.tokens[d] * passes for d in EXAMPLE.domains]

    assert trained == pytest.approx([w * 100_000_595_968 for w in (0.55, 0.25, 0.12, 0.08)])


@pytest.mark.parametrize(
    ("unit", "missing", "domain"),
    [
        ("document_probability", "mean_document_tokens", "math"),
        ("row_share", "mean_document_tokens", "math"),
        ("epochs", "tokens", "math"),
        ("kept_fraction", "tokens", "math"),
    ],
)
def test_an_input_missing_for_one_domain_is_named_with_the_domain(unit, missing, domain):
    known = {d: n for d, n in getattr(EXAMPLE, missing).items() if d != domain}

    with pytest.raises(
        InvalidInputError, match=rf"{missing} is not known for '{domain}', .* give {missing}"
    ) as caught:
        export(replace(EXAMPLE, **{missing: known}), "generic_json", unit)
    assert caught.value.field == missing


@pytest.mark.parametrize(
    ("unit", "missing"),
    [("epochs", "token_budget"), ("samples", "token_budget"), ("samples", "sequence_length")],
)
def test_a_missing_budget_or_length_is_named(unit, missing):
    with pytest.raises(InvalidInputError, match=f"{missing} is not known") as caught:
        export(replace(EXAMPLE, **{missing: None}), "generic_json", unit)
    assert caught.value.field == missing


def test_inputs_of_dropped_domains_are_not_needed():
    mixture = replace(
        EXAMPLE,
        weights={"web": 0.6, "code": 0.4, "math": 0.0, "wiki": 0.0},
        mean_document_tokens={"web": 1000, "code": 1000},
    )

    values = prepare(mixture, Unit.DOCUMENT_PROBABILITY).values

    assert values == {"web": Decimal("0.6"), "code": Decimal("0.4")}


def test_a_value_that_prints_as_zero_is_refused():
    tiny = replace(EXAMPLE, token_budget=4096.0)

    with pytest.raises(InvalidInputError, match="'code' has 0 samples"):
        prepare(tiny, Unit.SAMPLES)


@given(positive_weights)
@pytest.mark.parametrize(
    "unit", ["token_share", "sequence_share", "document_probability", "row_share"]
)
def test_printed_shares_sum_to_exactly_one(unit, weights):
    mixture = mixture_of(weights)
    lengths = {d: 100.0 + 7 * i for i, d in enumerate(mixture.domains)}

    prepared = prepare(replace(mixture, mean_document_tokens=lengths), Unit(unit))

    assert sum(prepared.values.values()) == 1
    assert all(-value.as_tuple().exponent <= 12 for value in prepared.values.values())
    assert all(value > 0 for value in prepared.values.values())


@given(positive_weights)
def test_shares_keep_their_order_and_value(weights):
    mixture = mixture_of(weights)

    prepared = prepare(mixture, Unit.TOKEN_SHARE)

    kept = [d for d in mixture.domains if mixture.weights[d] >= MIN_WEIGHT]
    total = sum(mixture.weights[d] for d in kept)
    assert list(prepared.shares) == kept
    assert {*prepared.shares, *prepared.dropped} == set(mixture.domains)
    for domain in kept:
        assert float(prepared.shares[domain]) == pytest.approx(
            mixture.weights[domain] / total, abs=1e-12
        )


@given(positive_weights, st.integers(1, 10**12))
def test_apportioning_sums_exactly_and_is_off_by_less_than_one(weights, total):
    counts = apportion(weights, total)

    assert counts.sum() == total
    assert np.all(np.abs(counts - weights / weights.sum() * total) < 1 + 1e-3)


@given(positive_weights)
def test_the_digest_depends_on_the_mixture_and_not_on_the_unit(weights):
    mixture = mixture_of(weights, tokens={}, token_budget=1e12)

    digest = prepare(mixture, Unit.TOKEN_SHARE).sha256

    assert prepare(replace(mixture, token_budget=10**12), Unit.SEQUENCE_SHARE).sha256 == digest
    assert prepare(replace(mixture, version=2), Unit.TOKEN_SHARE).sha256 != digest


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"web": 0.5, "code": 0.7}, "sum to 1.2"),
        ({"web": -0.5, "code": 1.5}, "'web' has -0.5"),
        ({"web": float("nan"), "code": 1.0}, "'web' has nan"),
        ({"web": float("inf"), "code": 0.0}, "'web' has inf"),
        ({"web": 1.0}, "'code' has None"),
    ],
)
def test_weights_off_the_simplex_are_refused(weights, message):
    with pytest.raises(NotOnSimplexError, match=message):
        ExportedMixture("mx", 1, ("web", "code"), weights)


@pytest.mark.parametrize("field", ["weights", "tokens", "mean_document_tokens", "paths"])
def test_a_domain_that_is_not_in_the_mixture_is_refused(field):
    with pytest.raises(InvalidInputError, match=f"{field}: 'wbe' is not a domain") as caught:
        replace(EXAMPLE, **{field: {**getattr(EXAMPLE, field), "wbe": 1.0}})
    assert caught.value.field == field


@pytest.mark.parametrize("domains", [(), ("web", "web")])
def test_no_domain_and_one_domain_twice_are_refused(domains):
    with pytest.raises(InvalidInputError, match="at least one, each once"):
        ExportedMixture("mx", 1, domains, {"web": 1.0})


@pytest.mark.parametrize("amount", [0, -1, float("nan"), float("inf"), 1e308])
@pytest.mark.parametrize(
    ("field", "is_per_domain"),
    [
        ("tokens", True),
        ("mean_document_tokens", True),
        ("token_budget", False),
        ("sequence_length", False),
        ("max_epochs", False),
    ],
)
def test_an_amount_out_of_range_is_refused(field, is_per_domain, amount):
    value = {"web": amount} if is_per_domain else amount

    with pytest.raises(InvalidInputError, match=f"^{field}.* give a number") as caught:
        replace(EXAMPLE, **{field: value})
    assert caught.value.field == field


def test_every_unit_is_described():
    assert set(UNITS) == set(Unit)


def test_without_a_unit_an_unknown_input_gives_the_next_unit_and_says_so():
    bare = replace(EXAMPLE, mean_document_tokens={})
    result = export(bare, "huggingface")
    assert result.unit == "token_share"
    assert "document_probability" in result.warnings[0]
    assert "mean_document_tokens" in result.warnings[0]
    assert export(EXAMPLE, "huggingface").unit == "document_probability"
