import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.quality.clusters import DROPPED, cluster

CENTRES = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [1.0, 0.0]])
SIZES = (60, 50, 30, 20)


@pytest.fixture
def documents():
    """Embeddings, and which of the four blobs each document is of."""
    blobs = np.repeat(np.arange(4), SIZES)
    noise = 0.05 * np.random.default_rng(0).normal(size=(sum(SIZES), 2))
    return CENTRES[blobs] + noise, blobs


def test_near_clusters_become_one_and_the_largest_comes_first(documents):
    embeddings, blobs = documents
    found = cluster(embeddings, clusters=12)
    assert found.sizes.tolist() == [80, 50, 30]
    for blob, label in ((0, 0), (3, 0), (1, 1), (2, 2)):
        assert (found.labels[blobs == blob] == label).all()
    np.testing.assert_allclose(found.centres, [[0.25, 0], [10, 0], [0, 10]], atol=0.05)


def test_centres_are_farther_apart_than_the_nearest_allowed():
    embeddings = np.random.default_rng(1).normal(size=(400, 3))
    found = cluster(embeddings, clusters=60, nearest=1.5)
    gaps = np.linalg.norm(found.centres[:, None] - found.centres, axis=2)
    assert 1 < len(found.centres) < 60
    assert gaps[np.triu_indices(len(gaps), 1)].min() >= 1.5
    for label, centre in enumerate(found.centres):
        np.testing.assert_allclose(embeddings[found.labels == label].mean(axis=0), centre)


def test_clusters_of_low_quality_are_dropped_before_any_merge(documents):
    embeddings, blobs = documents
    quality = np.where(blobs == 3, 2.0, 4.0)  # near to blob 0, but worse
    found = cluster(embeddings, quality, clusters=4, seed=1)
    assert (found.labels[blobs == 3] == DROPPED).all()
    assert found.sizes.tolist() == [60, 50, 30]


def test_equal_seeds_give_equal_clusters():
    embeddings = np.random.default_rng(1).normal(size=(200, 3))
    one, two = (cluster(embeddings, clusters=20, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.labels, two.labels)


def test_equal_documents_are_one_cluster():
    found = cluster(np.ones((40, 3)), clusters=10)
    assert found.sizes.tolist() == [40]
    apart = cluster(np.repeat(np.eye(3) * 9, 5, axis=0), clusters=10)
    assert apart.sizes.tolist() == [5, 5, 5]


def test_one_document():
    found = cluster(np.array([[1.0, 2.0]]), np.array([3.0]))
    assert found.labels.tolist() == [0]
    np.testing.assert_array_equal(found.centres, [[1.0, 2.0]])


def test_quality_that_is_too_low_everywhere_asks_for_its_direction(documents):
    with pytest.raises(InvalidInputError, match="higher quality is better"):
        cluster(documents[0], np.full(160, -4.0), clusters=4)


@pytest.mark.parametrize(
    ("embeddings", "quality", "clusters", "words"),
    [
        (np.array([[np.nan, 1.0]]), None, 4, "embeddings of 1 of the 1"),
        (np.empty((0, 3)), None, 4, "no documents"),
        (np.ones((4, 2)), np.ones(3), 4, "quality has shape"),
        (np.ones((4, 2)), np.array([1.0, 1.0, np.nan, 1.0]), 4, "document number 2"),
        (np.ones((4, 2)), None, 0, "clusters is 0"),
    ],
)
def test_bad_input(embeddings, quality, clusters, words):
    with pytest.raises(InvalidInputError, match=words):
        cluster(embeddings, quality, clusters=clusters)
