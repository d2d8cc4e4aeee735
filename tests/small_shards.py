"""A sampling function of two domains and two raters, and shards of documents for it."""

import io
import json

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from mixwright.quality.choosing import Sampler
from mixwright.quality.function import SamplingFunction
from mixwright.quality.parameters import Parameters
from mixwright.quality.ranks import RankTable
from mixwright.quality.raters import Rater
from mixwright.quality.shards import Columns

RATERS, DOMAINS = ("edu", "noise"), ("web", "code")


def small_function(raters=RATERS, domains=DOMAINS, floor=0.3):
    """Raters weigh 3 to 1, scores are uniform in [0, 1], a good half is kept."""
    k, r = len(domains), len(raters)
    weights = np.tile(np.array([3.0, *[1.0] * (r - 1)]) / (r + 2), (k, 1))
    numbers = (np.full(k, value) for value in (5.0, 0.5, 0.9, floor))
    grid = np.linspace(0.01, 1, 100)
    return SamplingFunction(
        tuple(Rater(name, higher_is_better=True) for name in raters),
        domains,
        Parameters(weights, *numbers),
        tuple(RankTable(grid - 1, grid) for _ in domains),
    )


def small_sampler(columns=None, seed=0, **changes):
    """The function with columns named like raters."""
    function = small_function(**changes)
    columns = columns or Columns({name: name for name in function.rater_names})
    return Sampler(function, columns, seed)


def small_table(rows=1000, first=0, text=0):
    """Documents with ids from `first`, the same whenever asked for."""
    rng = np.random.default_rng(first)
    columns = {
        "id": [f"doc-{number}" for number in range(first, first + rows)],
        "domain": rng.choice(DOMAINS, rows).tolist(),
        "edu": rng.random(rows),
        "noise": rng.random(rows),
        "tokens": rng.integers(1, 1000, rows),
    }
    if text:
        columns["text"] = [rng.bytes(text // 2).hex() for _ in range(rows)]
    return pa.table(columns)


def write_shard(path, table):
    """Write a table as the file's name tells; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=300)
        return path
    lines = "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode()
    codec = {".zst": "zstd", ".gz": "gzip"}.get(path.suffix)
    with pa.output_stream(path, compression=codec) as file:
        file.write(lines)
    return path


def read_shard(path):
    """The rows of a file."""
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    with pa.input_stream(path) as file:
        return [json.loads(line) for line in io.BytesIO(file.read())]
