"""Domains found by clustering documents.

Source:
    Diao et al., "CLIMB: CLustering-based Iterative Data Mixture Bootstrapping for Language Model
    Pre-training", arXiv:2504.13161 [S]: k-means with 1,000 clusters, those whose average quality is
    below 3 of 1 to 5 are dropped, and those nearer than a Euclidean distance of 1.5 are merged,
    which left 21.

Departures:
    * k-means is scikit-learn's; in batches beyond 20,000 documents.
    * A document that was not clustered goes where the nearest centre of k-means went [I].
    * In which order near clusters merge is not known; here the nearest two merge first, and the
      centre of both is the mean of their documents [I].
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright.quality.scores import finite

CLUSTERS, LOWEST_QUALITY, NEAREST = 1000, 3.0, 1.5
DROPPED = -1
_IN_BATCHES = 20_000  # documents beyond which k-means goes through them in batches


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which documents belong together.

    Attributes:
        labels: shape `(n,)`, each document's cluster; `DROPPED` where its quality was too low.
        centres: shape `(c, d)`, the largest cluster first.
        starts: shape `(s, d)`, the centres of k-means, before any was dropped or merged.
        label_of: shape `(s,)`, the cluster that each of them became, or `DROPPED`.
    """

    labels: IntArray
    centres: FloatArray
    starts: FloatArray
    label_of: IntArray

    @property
    def sizes(self) -> IntArray:
        """Documents of each cluster, shape `(c,)`."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.centres))


def cluster(
    embeddings: FloatArray,
    quality: FloatArray | None = None,
    *,
    clusters: int = CLUSTERS,
    lowest_quality: float = LOWEST_QUALITY,
    nearest: float = NEAREST,
    seed: int = 0,
) -> Clusters:
    """Cluster documents, drop clusters of low quality, and merge those near to each other.

    Args:
        embeddings: shape `(n, d)`.
        quality: shape `(n,)`, of each document, higher is better; None drops nothing.
        clusters: to begin with; no more than there are documents.
        lowest_quality: average below which a cluster is dropped.
        nearest: Euclidean distance below which two clusters become one.
        seed: equal seeds, documents and options give equal clusters.

    Raises:
        InvalidInputError: a number is not finite, the lengths differ, `nearest` is negative, there
            is no cluster to begin with, or none is good enough.
    """
    embeddings = finite(embeddings, "embeddings")
    if clusters < 1:
        raise InvalidInputError(f"clusters is {clusters}; it must be 1 or more", field="clusters")
    if not nearest >= 0:
        raise InvalidInputError(f"nearest is {nearest}; it must be 0 or more", field="nearest")
    if np.isnan(lowest_quality):
        raise InvalidInputError("lowest_quality is not a number", field="lowest_quality")
    first = _k_means(embeddings, min(clusters, len(embeddings)), seed)
    labels = first.copy()
    if quality is not None:
        labels = _drop(labels, _checked(quality, len(embeddings)), lowest_quality)
    kept = labels >= 0
    labels[kept] = _merge(embeddings[kept], labels[kept], nearest)
    labels = _largest_first(labels)
    label_of = np.full(first.max() + 1, DROPPED)
    label_of[first] = labels
    kept = labels >= 0
    return Clusters(
        labels, _means(embeddings[kept], labels[kept]), _means(embeddings, first), label_of
    )


def assign(embeddings: FloatArray, starts: FloatArray, label_of: IntArray) -> IntArray:
    """Return the clusters of documents, `(n,)`: what the nearest centre of k-means became.

    Args:
        embeddings: shape `(n, d)`.
        starts: shape `(s, d)`, of `Clusters`.
        label_of: shape `(s,)`, of `Clusters`.
    """
    distances = (starts**2).sum(axis=1) - 2 * embeddings @ starts.T
    return np.asarray(label_of[distances.argmin(axis=1)])


def _k_means(embeddings: FloatArray, clusters: int, seed: int) -> IntArray:
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different documents than that
        kind = MiniBatchKMeans if len(embeddings) > _IN_BATCHES else KMeans
        found = kind(clusters, n_init=1, random_state=seed).fit_predict(embeddings)
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _checked(quality: FloatArray, count: int) -> FloatArray:
    quality = finite(quality, "quality")
    if quality.shape != (count,):
        raise InvalidInputError(
            f"quality has shape {quality.shape}; it needs one number for each of the {count} "
            "documents",
            field="quality",
        )
    return quality


def _drop(labels: IntArray, quality: FloatArray, lowest: float) -> IntArray:
    average = np.bincount(labels, quality) / np.bincount(labels)
    if average.max() < lowest:
        raise InvalidInputError(
            f"no cluster's average quality reaches {lowest:g}, the highest is {average.max():.3g}; "
            "ask for less, and see that higher quality is better",
            field="lowest_quality",
        )
    return np.where(average[labels] < lowest, DROPPED, labels)


def _merge(embeddings: FloatArray, labels: IntArray, nearest: float) -> IntArray:
    """Return labels with the nearest two centres merged until none are nearer than `nearest`."""
    labels = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    sizes, centres = np.bincount(labels), _means(embeddings, labels)
    into = np.arange(len(sizes))
    distances = cdist(centres, centres)
    np.fill_diagonal(distances, np.inf)
    while distances.min() < nearest:
        one, two = np.unravel_index(distances.argmin(), distances.shape)
        sizes[one] += sizes[two]
        centres[one] += (centres[two] - centres[one]) * (sizes[two] / sizes[one])
        into[into == two] = one
        others = (into == np.arange(len(into))) & (np.arange(len(into)) != one)
        distances[one] = np.where(others, cdist(centres[[one]], centres)[0], np.inf)
        distances[two] = np.inf
        distances[:, one], distances[:, two] = distances[one], np.inf
    return np.asarray(into[labels])


def _means(embeddings: FloatArray, labels: IntArray) -> FloatArray:
    sums = np.zeros((labels.max() + 1, embeddings.shape[1]))
    np.add.at(sums, labels, embeddings)
    return np.asarray(sums / np.bincount(labels)[:, None])


def _largest_first(labels: IntArray) -> IntArray:
    """Return labels numbered by size; `DROPPED` stays."""
    kept = labels >= 0
    _, compact, sizes = np.unique(labels[kept], return_inverse=True, return_counts=True)
    place = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    numbered = np.full(len(labels), DROPPED)
    numbered[kept] = place[compact]
    return numbered
