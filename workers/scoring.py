"""Scores shards with proxies that were kept: `python -m workers.scoring`.

It is a process of its own, since only workers know the model; `mixwright score perplexity` starts
it. A column `perplexity_NAME` is added for each file NAME.safetensors.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError, MixwrightError
from mixwright.quality.columns import texts_of
from mixwright.quality.engines import Record
from mixwright.quality.shards import Fields, find_shards
from mixwright.scoring.shards import score_shards
from workers.keeping import Kept, KeptError, open_kept
from workers.perplexity import perplexities


@dataclass(frozen=True, slots=True)
class PerplexityScorer:
    """Perplexities by kept proxies, lower is better, as a column each.

    Attributes:
        models: files, where every process can read them.
        digests: of the files.
        text_column: where a document's text is.
    """

    models: tuple[Path, ...]
    digests: tuple[str, ...]
    text_column: str = "text"

    @property
    def fields(self) -> Fields:
        """What is read and added."""
        added = tuple(f"perplexity_{path.stem}" for path in self.models)
        return Fields(texts=(self.text_column,), added=added)

    @property
    def made_of(self) -> Record:
        """The models."""
        return {"kind": "perplexity/1", "models": list(self.digests)}

    def score(self, batch: pa.RecordBatch) -> FloatArray:
        """Return the perplexity of n documents by every model, `(n, models)`."""
        texts = texts_of(batch, self.text_column).to_pylist()
        pairs = zip(self.models, self.digests, strict=True)
        return np.stack([perplexities(_open(*pair), texts) for pair in pairs], axis=1)


def scorer_of(models: Sequence[Path], text_column: str = "text") -> PerplexityScorer:
    """Return the scorer of some files.

    Raises:
        InvalidInputError: two have one name, and so one column.
        KeptError: a file is no proxy that was kept.
    """
    if len({path.stem for path in models}) < len(models):
        raise InvalidInputError("two models have one name; rename a file", "model")
    digests = tuple(open_kept(path).digest for path in models)
    return PerplexityScorer(tuple(path.resolve() for path in models), digests, text_column)


@lru_cache(maxsize=8)
def _open(path: Path, digest: str) -> Kept:
    torch.set_num_threads(1)
    kept = open_kept(path)
    if kept.digest != digest:
        raise KeptError(f"{path} was changed while it was used")
    return kept


def main() -> None:
    """Score shards; tell bytes that are done on the standard error, and the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, action="append", required=True)
    parser.add_argument("--in", dest="shards", action="append", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--skip-broken", action="store_true")
    asked = parser.parse_args()
    try:
        scored = score_shards(
            scorer_of(asked.model, asked.text_column),
            find_shards(asked.shards),
            asked.out,
            workers=asked.workers,
            skip_broken=asked.skip_broken,
            progress=_tell,
        )
    except MixwrightError as error:
        sys.stdout.write(json.dumps({"error": str(error)}))
        sys.exit(1)
    sys.stdout.write(json.dumps(asdict(scored)))


def _tell(size: int) -> None:
    sys.stderr.write(f"{size}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
