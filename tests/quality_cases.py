"""Samples of scored documents, and parameters, that the tests of quality share."""

import numpy as np

from mixwright.quality.implied import ScoredDocuments, fit_function
from mixwright.quality.parameters import Parameters
from mixwright.quality.rating import Rating

RATERS = (("edu", True), ("perplexity", False))


def scored_documents(count, num_domains, seed):
    """Documents of random length whose two raters roughly agree, one of them reversed."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=count)
    edu = quality + 0.5 * rng.normal(size=count)
    perplexity = 30 - 5 * quality + rng.normal(size=count)
    where = np.append(np.arange(num_domains), rng.integers(num_domains, size=count - num_domains))
    return ScoredDocuments(where, np.column_stack([edu, perplexity]), rng.integers(20, 900, count))


def fit_rater(name, higher, scores, tokens, normalisation="z_score"):
    """A rater, normalised on documents with these scores and tokens."""
    rating = Rating((name,), frozenset() if higher else frozenset({name}), normalisation)
    nowhere = np.zeros(len(scores), dtype=np.int64)
    documents = ScoredDocuments(nowhere, scores[:, None], tokens.astype(np.int64))
    return rating.fit(documents)[0]


def raters_of(documents):
    """The two raters, normalised on the documents."""
    return tuple(
        fit_rater(name, higher, documents.scores[:, column], documents.tokens)
        for column, (name, higher) in enumerate(RATERS)
    )


def parameters(num_domains, steepness=50.0, threshold=0.1, exponent=0.8, floor=0.01):
    """The same for every domain, both raters trusted alike."""
    numbers = (np.full(num_domains, one) for one in (steepness, threshold, exponent, floor))
    return Parameters(np.full((num_domains, 2), 0.5), *numbers)


def fitted(documents, num_domains=1, **numbers):
    """The function of `parameters`, with ranks of these documents."""
    names = [f"d{place}" for place in range(num_domains)]
    return fit_function(raters_of(documents), names, parameters(num_domains, **numbers), documents)
