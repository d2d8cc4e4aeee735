"""Applies a sampling function to shards, over processes; what is complete is not done again.

An output shard appears whole or not at all: it is written beside its place, flushed and renamed.
Its record, a JSON file of what it was made of and what is in it, is in place just before.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import IO, Any

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import MixwrightError
from mixwright.quality.choosing import TALLIES, DocumentError, Sampler
from mixwright.quality.shards import BrokenShardError, ShardError, format_of

Record = dict[str, Any]
Progress = Callable[[int], None]


class OutputError(MixwrightError):
    """An output that cannot be written or trusted; says what to do."""


@dataclass(slots=True)
class Applied:
    """What became of shards.

    Attributes:
        domains: `TALLIES` of each, over all shards but the broken ones.
        written: how many shards were written.
        found: how many were complete before.
        broken: why shards were left out.
    """

    domains: dict[str, dict[str, float]]
    written: int = 0
    found: int = 0
    broken: list[str] = field(default_factory=list)


def apply_to_shards(
    sampler: Sampler,
    paths: Sequence[Path],
    out: Path,
    workers: int = 1,
    skip_broken: bool = False,
    progress: Progress = lambda _size: None,
) -> Applied:
    """Write the chosen documents of every shard to a shard of the same name in `out`.

    Args:
        sampler: what chooses.
        paths: of shards whose names differ; see `find_shards`.
        out: a folder, which is made. One call at a time may write to it.
        workers: processes.
        skip_broken: leave shards out that are truncated or damaged.
        progress: is told of the input bytes of every shard that is done.

    Raises:
        ShardError: a shard cannot be used.
        OutputError: the disk is full, `out` holds another thing of the same name, a worker died,
            or another call writes there. Shards that are complete stay.
    """
    with _alone_in(out):
        records = {path: _complete(sampler, path, out) for path in paths}
        todo = [path for path, record in records.items() if record is None]
        for path in records.keys() - set(todo):
            progress(path.stat().st_size)
        applied = Applied({}, found=len(paths) - len(todo))
        for path, work in _in_processes(sampler, todo, out, workers):
            try:
                records[path] = work()
                applied.written += 1
            except BrokenShardError as error:
                if not skip_broken:
                    raise BrokenShardError(f"{error}; --skip-broken leaves it out") from error
                applied.broken.append(str(error))
            progress(path.stat().st_size)
    applied.domains = _sum(sampler, [record for record in records.values() if record])
    return applied


def apply_to_shard(sampler: Sampler, path: Path, out: Path) -> Record:
    """Write the chosen documents of one shard; return the record that is written beside it.

    Raises:
        ShardError: the shard cannot be used.
        OutputError: the output cannot be written.
    """
    target, made = out / path.name, _made_of(sampler, path)
    beside = out / f".{target.name}.{os.getpid()}.part"
    try:
        with beside.open("wb") as file:
            tallies = _copy(sampler, path, file)
        _flush(beside)
        if _made_of(sampler, path) != made:
            raise ShardError(f"{path} changed while it was read; run this again when it is whole")
        record = {**made, "output_bytes": beside.stat().st_size, "domains": tallies}
        _write_record(_record_of(target), record)
        os.replace(beside, target)
        _flush(out)
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error}; when that is mended, run this again: shards "
            "that are complete stay"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    return record


def _copy(sampler: Sampler, path: Path, file: IO[bytes]) -> dict[str, dict[str, float]]:
    """Write a shard's chosen documents; return their `TALLIES` by domain."""
    kind, total, row = format_of(path), np.zeros((len(sampler.function.domains), len(TALLIES))), 0
    with kind.write(file, sampler.columns) as write:
        for batch in kind.read(path, sampler.columns):
            try:
                chosen, tallies = sampler.choose(batch)
            except DocumentError as error:
                raise ShardError(f"{path}, row {row + error.row + 1}: {error}") from error
            write(chosen)
            total += tallies
            row += len(batch)
    return _by_name(sampler, total)


def _made_of(sampler: Sampler, path: Path) -> Record:
    """Return all that an output shard depends on, as JSON has it."""
    status = path.stat()
    return {
        "function": sampler.digest,
        "seed": sampler.seed,
        "columns": asdict(sampler.columns),
        "input": {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns},
    }


def _complete(sampler: Sampler, path: Path, out: Path) -> Record | None:
    """Return the record of an output shard that is complete, None where there is no shard.

    Raises:
        OutputError: there is one that is not what would be written.
    """
    target = out / path.name
    if not target.exists():
        return None
    elsewhere = "remove it, or write to another folder"
    try:
        record = json.loads(_record_of(target).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{target} is there, and not written by this; {elsewhere}") from error
    made = _made_of(sampler, path)
    if others := [name for name in made if record.get(name) != made[name]]:
        raise OutputError(f"{target} was made with another {', '.join(others)}; {elsewhere}")
    if record["output_bytes"] != target.stat().st_size:
        raise OutputError(f"{target} was changed after it was written; {elsewhere}")
    return dict(record)


def _in_processes(
    sampler: Sampler, paths: Sequence[Path], out: Path, workers: int
) -> Iterator[tuple[Path, Callable[[], Record]]]:
    """Yield shards with what gives their records or raises why there is none."""
    if workers == 1:
        yield from ((path, lambda path=path: apply_to_shard(sampler, path, out)) for path in paths)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _end_with_parent)
    try:
        futures = {pool.submit(apply_to_shard, sampler, path, out): path for path in paths}
        for future in as_completed(futures):
            yield futures[future], future.result
    except BrokenProcessPool as error:
        raise OutputError(
            "a worker died, perhaps for want of memory; run this again, with fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Let a worker end when its parent does, however that ends."""

    def watch() -> None:
        if parent := parent_process():
            connection.wait([parent.sentinel])
            os._exit(1)

    Thread(target=watch, daemon=True).start()


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Lock a folder, and remove what killed calls left half written in it."""
    out.mkdir(parents=True, exist_ok=True)
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for part in out.glob(".*.part"):
            part.unlink(missing_ok=True)
        yield
    except BlockingIOError as error:
        raise OutputError(f"another call writes to {out}; give each a folder of its own") from error
    finally:
        os.close(folder)


def _record_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _write_record(path: Path, record: Record) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(json.dumps(record, indent=2).encode())
        _flush(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Bring a written file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _by_name(sampler: Sampler, tallies: FloatArray) -> dict[str, dict[str, float]]:
    rows = zip(sampler.function.domains, tallies.tolist(), strict=True)
    return {name: dict(zip(TALLIES, row, strict=True)) for name, row in rows}


def _sum(sampler: Sampler, records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Return the tallies of all records together, the same in any order of their writing."""
    names = sampler.function.domains
    total = np.zeros((len(names), len(TALLIES)))
    for record in records:
        total += [[record["domains"][name][tally] for tally in TALLIES] for name in names]
    return _by_name(sampler, total)
