"""How fast documents are chosen, in how much memory, and what a second process adds."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks.tables import Section, machine, versions
from mixwright.quality.function import SamplingFunction
from mixwright.quality.parameters import Parameters
from mixwright.quality.ranks import RankTable
from mixwright.quality.raters import Rater

RATERS = ("edu", "dclm", "fluency")
DOMAINS = tuple(f"domain_{number}" for number in range(26))
DOCUMENTS, SHARDS = 500_000, 24  # in a shard, of them
URL_BYTES = 150  # with id, domain, three scores and tokens: 200 bytes a document
ROUNDS = 3  # of one process and two in turn; the fastest of each counts
MEASURE = """
import json, re, resource, sys, time
from pathlib import Path
from mixwright.quality.applying import apply_to_shards
from mixwright.quality.choosing import Sampler
from mixwright.quality.function import SamplingFunction
from mixwright.quality.shards import Columns, find_shards
if __name__ == "__main__":
    folder, workers, out = Path(sys.argv[1]), int(sys.argv[3]), Path(sys.argv[4])
    function = SamplingFunction.from_json((folder / "function.json").read_text())
    sampler = Sampler(function, Columns({name: name for name in function.rater_names}))
    shards, began = find_shards([str(folder / sys.argv[2])]), time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF)
    apply_to_shards(sampler, shards, out, workers)
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())  # not the parent's
    print(json.dumps({
        "seconds": time.perf_counter() - began,
        "processor": sum(one.ru_utime + one.ru_stime for one in usage)
        - before.ru_utime - before.ru_stime,
        "megabytes": max(int(peak[1]), usage[1].ru_maxrss) / 1024,
    }))
"""


def made_up_function():
    """26 domains, 3 raters, ranks of 1,000 steps; a twentieth is kept."""
    k, rng = len(DOMAINS), np.random.default_rng(0)
    grid = np.linspace(0.001, 1, 1000)
    numbers = (np.full(k, value) for value in (500.0, 0.05, 0.5, 0.001))
    weights = rng.dirichlet(np.ones(len(RATERS)), k)
    merged = (
        -rng.random((10_000, len(RATERS))) @ weights.T
    )  # (10,000, k), as `made_up_table` scores
    return SamplingFunction(
        tuple(Rater(name, higher_is_better=True) for name in RATERS),
        DOMAINS,
        Parameters(weights, *numbers),
        tuple(RankTable(np.quantile(one, grid), grid) for one in merged.T),
    )


def made_up_table(rows, text_bytes, seed):
    """Documents with a text of random hexadecimal digits."""
    rng = np.random.default_rng(seed)
    texts = rng.bytes(rows * text_bytes // 2).hex()
    columns = {
        "id": [f"{seed:03d}-{row:09d}" for row in range(rows)],
        "domain": rng.choice(DOMAINS, rows),
        **{name: rng.random(rows) for name in RATERS},
        "tokens": rng.integers(1, 4000, rows),
        "text": [texts[row * text_bytes : (row + 1) * text_bytes] for row in range(rows)],
    }
    return pa.table(columns)


def write_lines(path, table):
    """The table as JSON lines, with zstd."""
    with pa.output_stream(path, compression="zstd") as file:
        for batch in table.to_batches(10_000):
            file.write("".join(json.dumps(row) + "\n" for row in batch.to_pylist()).encode())


def prepare(folder):
    """Shards with 200 bytes a document, and one with long texts."""
    (folder / "function.json").write_text(made_up_function().to_json())
    table = made_up_table(DOCUMENTS, URL_BYTES, 0)
    parquet.write_table(table, folder / "00.parquet")
    for number in range(1, SHARDS):
        os.link(folder / "00.parquet", folder / f"{number:02d}.parquet")
    write_lines(folder / "lines.jsonl.zst", table)
    with parquet.ParquetWriter(folder / "long.parquet", made_up_table(1, 8000, 0).schema) as writer:
        for seed in range(8):  # row groups of 160 MB
            writer.write_table(made_up_table(20_000, 8000, seed))


def start(folder, shards, workers, out):
    """A run in a process of its own; the time of its imports does not count."""
    script = folder / "measure.py"
    script.write_text(MEASURE)
    words = [sys.executable, script, folder, shards, str(workers), out]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def result(process):
    """What a run measured."""
    told, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a run ended with {process.returncode}")
    return json.loads(told)


def measure(folder, shards, workers):
    """One run."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        return result(start(folder, shards, workers, out))


def measure_apart(folder, halves):
    """Two runs that know nothing of each other, half of the shards each: what can be had."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as one,
        tempfile.TemporaryDirectory(dir=folder) as two,
    ):
        runs = [start(folder, half, 1, out) for half, out in zip(halves, (one, two), strict=True)]
        found = [result(run) for run in runs]
    return {
        "seconds": max(run["seconds"] for run in found),
        "processor": sum(run["processor"] for run in found),
        "megabytes": max(run["megabytes"] for run in found),
    }


def fastest(found):
    """The run of least wall-clock time: others on the machine only ever add to it."""
    return min(found, key=lambda run: run["seconds"])


def row_of(label, processes, documents, folder, shards, found):
    """A row of the table: rates by the wall clock and by processor time, and memory."""
    seconds, processor, memory = found.values()
    size = sum(path.stat().st_size for path in folder.glob(shards)) / 1e6
    rates = (f"{documents / spent * 60 / 1e6:.1f}M" for spent in (seconds, processor))
    numbers = (f"{documents:,}", f"{size:,.0f}", f"{seconds:.1f}", *rates, f"{memory:.0f}")
    return (label, processes, *numbers)


def sections():
    """The section of docs/benchmarks.md."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        prepare(folder)
        total = SHARDS * DOCUMENTS
        every, halves = "[0-9]*.parquet", ("*[02468].parquet", "*[13579].parquet")
        rounds = [
            (
                measure(folder, every, 1),
                measure(folder, every, 2),
                measure_apart(folder, halves),
            )
            for _ in range(ROUNDS)
        ]
        one, two, apart = map(fastest, zip(*rounds, strict=True))
        lines, long = (measure(folder, name, 1) for name in ("lines.jsonl.zst", "long.parquet"))
        small = ("Parquet, 200 bytes", "JSON lines with zstd, 200 bytes")
        rows = [
            row_of(small[0], "1", total, folder, every, one),
            row_of(small[0], "2", total, folder, every, two),
            row_of(small[0], "2 calls of 1", total, folder, every, apart),
            row_of(small[1], "1", DOCUMENTS, folder, "lines.jsonl.zst", lines),
            row_of("Parquet, 8,000 bytes", "1", 160_000, folder, "long.parquet", long),
        ]
    threads = one["processor"] / one["seconds"]
    gain, ceiling = (one["seconds"] / run["seconds"] for run in (two, apart))
    return [
        Section(
            "Acting on documents",
            "`mixwright sample apply` without the start of Python: 26 domains, 3 raters, a "
            "twentieth of the documents is kept. Rates in documents a minute, by the wall clock "
            "and by processor time (of all processes, with what workers import); the memory of the "
            "largest process.",
            (
                "documents",
                "processes",
                "number",
                "input MB",
                "s",
                "a minute",
                "a processor minute",
                "memory MB",
            ),
            rows,
            f"One process kept {threads:.2f} processors busy. Two processes were {gain:.2f} times "
            "as fast as one, with the start of both; two calls that know nothing of each other "
            f"were {ceiling:.2f} times as fast, which is what the machine allowed. The fastest of "
            f"{ROUNDS} rounds each; others used the machine (load {os.getloadavg()[0]:.1f}). "
            f"Machine: {machine()}; {versions('pyarrow', 'numpy')}.",
        )
    ]
