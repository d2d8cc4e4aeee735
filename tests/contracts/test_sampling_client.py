"""The core and the client choose the same documents, to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quality_cases import fit_rater, scored_documents
from small_shards import small_function, small_sampler, small_table

from mixwright.quality.function import SamplingFunction
from mixwright.quality.implied import fit_function
from mixwright.quality.parameters import Parameters
from mixwright.quality.uniforms import uniforms_of
from mixwright_client import sampling, sampling_function

MILLION = 1_000_000
SEEDS = st.integers(0, 2**32 - 1)


def drawn_function(seed, documents, num_domains, normalisation):
    """Any parameters that are valid, normalised on the documents."""
    rng = np.random.default_rng(seed)
    raters = [
        fit_rater(name, name == "edu", documents.scores[:, i], documents.tokens, normalisation)
        for i, name in enumerate(("edu", "perplexity"))
    ]
    largest = (10.0 ** rng.uniform(0, 6), 1.0, 1.0, 1.0)
    numbers = (rng.uniform(0, most, num_domains) for most in largest)
    theta = Parameters(rng.dirichlet(np.ones(2), num_domains), *numbers)
    return fit_function(raters, [f"d{i}" for i in range(num_domains)], theta, documents)


def assert_alike(function, documents):
    client = sampling_function.SamplingFunction.from_json(function.to_json())
    expected = function.expected_copies(documents.domain_index, documents.scores)
    found = client.expected_copies(documents.domain_index, documents.scores)
    np.testing.assert_array_equal(found, expected)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, k=st.integers(1, 4), kind=st.sampled_from(["z_score", "rank_normal"]))
def test_expected_copies_are_the_same(seed, k, kind):
    documents = scored_documents(300, k, seed)
    function = drawn_function(seed, documents, k, kind)
    assert_alike(SamplingFunction.from_json(function.to_json()), documents)


@pytest.mark.parametrize("normalisation", ["z_score", "rank_normal"])
def test_a_million_documents_are_expected_alike(normalisation):
    documents = scored_documents(MILLION, 5, 3)
    assert_alike(drawn_function(11, documents, 5, normalisation), documents)


@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_the_chosen_documents_are_those_of_the_command(seed):
    table = small_table(5000).combine_chunks()
    expected, _ = small_sampler(seed=seed).choose(table.to_batches()[0])
    function = sampling.SamplingFunction.from_json(small_function().to_json())
    pieces = sampling.Chooser(function, seed).batches(table.to_batches(max_chunksize=999))
    found = [name for piece in pieces for name in piece["id"].to_pylist()]
    assert found == expected["id"].to_pylist()
    names = table["id"].to_pylist()
    np.testing.assert_array_equal(
        sampling_function.uniforms_of(names, seed), uniforms_of(names, seed)
    )
