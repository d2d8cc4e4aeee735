"""Clusters of documents as a column: fitted to a sample of embeddings, then assigned to all.

Source:
    CLIMB, arXiv:2504.13161 [S]; see `mixwright.quality.clusters`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.quality.clusters import CLUSTERS, LOWEST_QUALITY, NEAREST, assign, cluster
from mixwright.quality.columns import numbers_of, rows_after, vectors_of
from mixwright.quality.engines import Engine, Record, in_processes
from mixwright.quality.rewriting import Rewritten, rewrite_shards
from mixwright.quality.shards import BrokenShardError, Fields, format_of
from mixwright.scoring.models import Model, load_once

KIND, SAMPLE = "clusters/1", 100_000


@dataclass(frozen=True, slots=True)
class Clustering:
    """How clusters are found.

    Attributes:
        embedding: column of lists of as many numbers.
        quality: column of the documents' quality, higher is better; None drops no cluster.
        clusters: of k-means; no more than there are documents.
        lowest_quality: average below which one is dropped.
        nearest: Euclidean distance below which two become one.
        sample: documents that they are fitted to, at most.
        seed: of the sample and of k-means.
    """

    embedding: str = "embedding"
    quality: str | None = None
    clusters: int = CLUSTERS
    lowest_quality: float = LOWEST_QUALITY
    nearest: float = NEAREST
    sample: int = SAMPLE
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Assigning:
    """The work of assigning documents to clusters; -1 is that of the dropped ones.

    Attributes:
        path: of the model, where every worker can read it.
        digest: of the model: clusters of one number under two digests are different ones.
        count: of clusters.
        embedding: column of lists of numbers.
        column: where the cluster's number goes.
    """

    path: Path
    digest: str
    count: int
    embedding: str = "embedding"
    column: str = "cluster"

    @property
    def fields(self) -> Fields:
        """What is read and added."""
        return Fields(vectors=(self.embedding,), added=(self.column,))

    @property
    def made_of(self) -> Record:
        """The model and the columns."""
        return {"clusters": self.digest, "columns": [self.embedding, self.column]}

    def change(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, FloatArray]:
        """Return a batch with its clusters, and how many documents each has, dropped ones first.

        Raises:
            DocumentError: an embedding is missing, not finite, or of another length.
        """
        model = load_once(self.path, KIND, self.digest)
        starts, label_of = model.arrays["starts"], model.arrays["label_of"]
        vectors = vectors_of(batch, self.embedding, starts.shape[1])
        labels = assign(vectors, starts, label_of)
        sizes = np.bincount(labels + 1, minlength=self.count + 1).astype(np.float64)
        return batch.append_column(self.column, pa.array(labels, pa.int32())), sizes

    def told(self, sums: FloatArray) -> Record:
        """Return the sizes."""
        return {"sizes": sums.tolist()}


def fit(how: Clustering, paths: Sequence[Path], skip_broken: bool = False) -> Model:
    """Return clusters of a random sample of the documents of shards.

    Raises:
        InvalidInputError: there are fewer documents than clusters, or as `cluster` does.
        ShardError: a shard cannot be used.
    """
    embeddings, quality = _sample(how, paths, skip_broken)
    if len(embeddings) < how.clusters:
        raise InvalidInputError(
            f"there are {len(embeddings)} documents for {how.clusters} clusters; ask for fewer",
            "clusters",
        )
    found = cluster(
        embeddings,
        None if how.quality is None else quality,
        clusters=how.clusters,
        lowest_quality=how.lowest_quality,
        nearest=how.nearest,
        seed=how.seed,
    )
    arrays = {"starts": found.starts, "label_of": found.label_of, "centres": found.centres}
    return Model(KIND, settings_of(how), arrays)


def settings_of(how: Clustering) -> dict[str, Any]:
    """Return what a model of clusters says that it was fitted with."""
    return {name: getattr(how, name) for name in Clustering.__slots__}


def assign_shards(
    work: Assigning,
    paths: Sequence[Path],
    out: Path,
    *,
    workers: int | None = None,
    skip_broken: bool = False,
    progress: Callable[[int], None] = lambda _size: None,
    engine: Engine = in_processes,
) -> tuple[list[int], Rewritten]:
    """Write every shard with its clusters; return their sizes, the dropped one's first.

    Args and errors are those of `mixwright.quality.rewriting.rewrite_shards`.
    """
    done = rewrite_shards(
        work,
        paths,
        out,
        workers=workers,
        skip_broken=skip_broken,
        progress=progress,
        engine=engine,
    )
    sizes = np.zeros(work.count + 1)
    for record in done.records:
        sizes += record["sizes"]
    return [int(size) for size in sizes], done


def _sample(
    how: Clustering, paths: Sequence[Path], skip_broken: bool
) -> tuple[FloatArray, FloatArray]:
    """Return embeddings and quality of documents drawn at random, `(n, d)` and `(n,)`.

    A document is in if its random key is among the lowest, so that no more are ever held.
    """
    rng, kept = np.random.default_rng(how.seed), None
    for vectors, quality in _read(how, paths, skip_broken):
        more = (rng.random(len(vectors)), vectors, quality)
        both = more if kept is None else tuple(map(np.concatenate, zip(kept, more, strict=True)))
        order = np.argsort(both[0], kind="stable")[: how.sample]
        kept = tuple(part[order] for part in both)
    return (np.empty((0, 1)), np.empty(0)) if kept is None else (kept[1], kept[2])


def _read(
    how: Clustering, paths: Sequence[Path], skip_broken: bool
) -> Iterator[tuple[FloatArray, FloatArray]]:
    length = None
    for path in paths:
        try:
            for vectors, quality in _read_shard(how, path, length):
                length = vectors.shape[1]
                yield vectors, quality
        except BrokenShardError as error:
            if not skip_broken:
                raise BrokenShardError(f"{error}; --skip-broken leaves it out") from error


def _read_shard(
    how: Clustering, path: Path, length: int | None
) -> Iterator[tuple[FloatArray, FloatArray]]:
    numbers, row = () if how.quality is None else (how.quality,), 0
    for batch in format_of(path).read(path, Fields(numbers=numbers, vectors=(how.embedding,))):
        if not len(batch):
            continue
        with rows_after(row, path):
            vectors = vectors_of(batch, how.embedding, length)
            quality = numbers_of(batch, how.quality) if how.quality else np.zeros(len(batch))
        length, row = vectors.shape[1], row + len(batch)
        yield vectors, quality
