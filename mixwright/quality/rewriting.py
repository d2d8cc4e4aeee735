"""Rewrites shards, each by itself: what is complete is not done again.

An output shard appears whole or not at all: it is written beside its place, flushed and renamed.
Its record, a JSON file of what it was made of and what is in it, is in place just before.
"""

import fcntl
import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import pyarrow as pa

from mixwright.arrays import FloatArray
from mixwright.errors import MixwrightError
from mixwright.quality.columns import rows_after
from mixwright.quality.engines import Engine, Record, in_processes
from mixwright.quality.shards import BrokenShardError, Fields, ShardError, format_of, output_name

Progress = Callable[[int], None]


class OutputError(MixwrightError):
    """An output that cannot be written or trusted; says what to do."""


class Work(Protocol):
    """What is done to documents: a function of a batch and of nothing else."""

    @property
    def made_of(self) -> Record:
        """All that an output depends on besides its input, as JSON has it."""

    @property
    def fields(self) -> Fields:
        """What is read of a document and added to it."""

    def change(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, FloatArray]:
        """Return what is written of a batch, and sums over its documents.

        Raises:
            DocumentError: a document cannot be used.
        """

    def told(self, sums: FloatArray) -> Record:
        """Return the sums of a shard as its record has them."""


@dataclass(slots=True)
class Rewritten:
    """What became of shards.

    Attributes:
        records: of each that is complete, in the order of the inputs.
        written: how many shards were written.
        found: how many were complete before.
        broken: why shards were left out.
    """

    records: list[Record] = field(default_factory=list)
    written: int = 0
    found: int = 0
    broken: list[str] = field(default_factory=list)


def rewrite_shards(
    work: Work,
    paths: Sequence[Path],
    out: Path,
    *,
    workers: int | None = None,
    skip_broken: bool = False,
    progress: Progress = lambda _size: None,
    engine: Engine = in_processes,
) -> Rewritten:
    """Write what becomes of every shard to a shard of the same name in `out`.

    Args:
        work: what is done.
        paths: of shards whose names differ; see `find_shards`.
        out: a folder, which is made. One call at a time may write to it.
        workers: how many work at once; None for what is usual with the engine.
        skip_broken: leave shards out that are truncated or damaged.
        progress: is told of the input bytes of every shard that is done.
        engine: where it is done.

    Raises:
        ShardError: a shard cannot be used.
        OutputError: the disk is full, `out` holds another thing of the same name, or another call
            writes there. Shards that are complete stay.
        WorkerDiedError: a worker died. Shards that are complete stay.
    """
    out, paths = out.absolute(), [path.absolute() for path in paths]  # workers stand elsewhere
    with _alone_in(out):
        records = {path: _complete(work, path, out) for path in paths}
        todo = [path for path, record in records.items() if record is None]
        for path in records.keys() - set(todo):
            progress(path.stat().st_size)
        done = Rewritten(found=len(paths) - len(todo))
        for path, result in engine(partial(rewrite_shard, work, out), todo, workers):
            try:
                records[path] = result()
                done.written += 1
            except BrokenShardError as error:
                if not skip_broken:
                    raise BrokenShardError(f"{error}; --skip-broken leaves it out") from error
                done.broken.append(str(error))
            progress(path.stat().st_size)
    done.records = [record for record in records.values() if record is not None]
    return done


def rewrite_shard(work: Work, out: Path, path: Path) -> Record:
    """Write what becomes of one shard; return the record that is written beside it.

    Raises:
        ShardError: the shard cannot be used.
        OutputError: the output cannot be written.
    """
    target, made = out / output_name(path), _made_of(work, path)
    beside = _beside(target)
    try:
        with beside.open("wb") as file:
            told = _copy(work, path, file)
        _flush(beside)
        if _made_of(work, path) != made:
            raise ShardError(f"{path} changed while it was read; run this again when it is whole")
        record = {**made, "output_bytes": beside.stat().st_size, **told}
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


def _copy(work: Work, path: Path, file: IO[bytes]) -> Record:
    """Write what becomes of a shard's documents; return what is told of them."""
    kind, total, row = format_of(path), np.zeros(()), 0
    with kind.write(file, work.fields) as write:
        for batch in kind.read(path, work.fields):
            with rows_after(row, path):
                changed, sums = work.change(batch)
            write(changed)
            total = total + sums  # of the shape of sums after the first batch, which there is
            row += len(batch)
    return work.told(total)


def _made_of(work: Work, path: Path) -> Record:
    status = path.stat()
    return {**work.made_of, "input": {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}}


def _complete(work: Work, path: Path, out: Path) -> Record | None:
    """Return the record of an output shard that is complete, None where there is no shard.

    Raises:
        OutputError: there is one that is not what would be written.
    """
    target = out / output_name(path)
    if not target.exists():
        return None
    elsewhere = "remove it, or write to another folder"
    try:
        record = json.loads(_record_of(target).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{target} is there, and not written by this; {elsewhere}") from error
    made = _made_of(work, path)
    if others := [name for name in made if record.get(name) != made[name]]:
        raise OutputError(f"{target} was made with another {', '.join(others)}; {elsewhere}")
    if record["output_bytes"] != target.stat().st_size:
        raise OutputError(f"{target} was changed after it was written; {elsewhere}")
    return dict(record)


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Lock a folder, and remove what killed calls left half written in it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"{out} cannot be a folder to write to: {error}") from error
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


def _beside(target: Path) -> Path:
    """Return where this process, of all machines', may write half of a file."""
    return target.with_name(f".{target.name}.{platform.node()}-{os.getpid()}.part")


def _write_record(path: Path, record: Record) -> None:
    beside = _beside(path)
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
