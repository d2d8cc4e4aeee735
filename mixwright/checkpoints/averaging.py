"""Averages of checkpoints, a block of a tensor at a time.

A block of each checkpoint is read and added to the sum before the next block is: all of it stays in
the processor's cache, and memory is a few megabytes whatever the size of tensors. Only tensors
that a torch file holds with gaps or transposed are read as a whole.

Source:
    Averaging checkpoints in place of decaying the rate: arXiv:2511.18903, whose weights are in
    `mixwright.schedules.averaging`. Means are in fp32 after training, as is usual [R].
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.checkpoints.reading import Checkpoint, files_of
from mixwright.checkpoints.stored import Reader, Spec
from mixwright.checkpoints.writing import Writer, writing
from mixwright.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

DTYPES: Final = ("float32", "bfloat16", "float16", "float64")
"""What is averaged, and may be written; tensors of any other dtype must be the same in all."""
_THREADS: Final = min(4, os.cpu_count() or 1)  # tensors at a time; more would wait for memory
_BLOCK: Final = 1 << 18  # numbers: a block and its sum stay in the cache


@dataclass(frozen=True, slots=True)
class Averaged:
    """What was done.

    Attributes:
        weights: of the checkpoints, sum 1.
        files: of each checkpoint.
        averaged: number of tensors that are means.
        kept: number of tensors that are the same in all.
        size: of all tensors that were written, in bytes.
    """

    weights: tuple[float, ...]
    files: tuple[tuple[str, ...], ...]
    averaged: int
    kept: int
    size: int


def average_checkpoints(
    paths: Sequence[Path],
    out: Path,
    weights: FloatArray,
    dtype: str | None = None,
    tell: Callable[[float], None] = lambda share: None,
) -> Averaged:
    """Write the weighted mean of checkpoints, which have the same tensors.

    Sums are in fp32 (fp64 where tensors are), in the order of the checkpoints, divided once: with
    even weights that is the sum over the number, to the last bit.

    Args:
        paths: files (.safetensors, .pt, .pth, .bin), indexes of several, or folders of these.
        out: file to write; its ending gives the format. It is whole or not there.
        weights: shape `(c,)`, at least 0, not all 0.
        dtype: one of `DTYPES` for the means; None for that of the checkpoints.
        tell: is told the share that is done.

    Raises:
        InvalidInputError: weights that do not fit; a file that is broken; tensors that are missing
            somewhere, differ in shape or dtype, are NaN, or differ and cannot be averaged; `out`
            is one of the inputs or cannot be written.
    """
    weights = _checked(weights, paths)
    if dtype is not None and dtype not in DTYPES:
        raise InvalidInputError(f"dtype is '{dtype}'; use {', '.join(DTYPES)}", field="dtype")
    checkpoints = [Checkpoint(path) for path in paths]
    if out.resolve() in {file.resolve() for file in files_of(checkpoints)}:
        raise InvalidInputError(f"{out} is one of the checkpoints; name another file", field="out")
    _require_alike(checkpoints, any_dtype=dtype is not None)
    specs = _written(checkpoints[0].tensors, dtype)
    size, done = sum(one.size for one in specs.values()), 0
    with (
        writing(out, specs) as write,
        _one_thread_in_torch(),
        ThreadPoolExecutor(_THREADS) as threads,
    ):
        average = partial(_average, checkpoints, weights, write)
        for spec, _ in zip(
            specs.values(), threads.map(average, specs, specs.values()), strict=True
        ):
            done += spec.size
            tell(done / max(size, 1))
    means = sum(_is_averaged(one) for one in specs.values())
    files = tuple(tuple(str(file) for file in one.files) for one in checkpoints)
    shares = tuple((weights / weights.sum()).tolist())
    return Averaged(shares, files, means, len(specs) - means, size)


@contextmanager
def _one_thread_in_torch() -> Iterator[None]:
    """Keep torch from dividing blocks: tensors are divided between threads already."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sha256_of(paths: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of each file's content, in hexadecimal; processors share the files."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # hashing lets other threads run
        return list(threads.map(_sha256_of, paths))


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(weights: FloatArray, paths: Sequence[Path]) -> FloatArray:
    """Return weights of which the largest is 1: even ones are then exact."""
    if not paths or len(weights) != len(paths):
        raise InvalidInputError(
            f"there are {len(weights)} weights and {len(paths)} checkpoints; give one for each",
            field="weights",
        )
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.max() == 0:
        raise InvalidInputError(
            f"weights are {weights.tolist()}; they must be at least 0, and not all 0",
            field="weights",
        )
    return np.asarray(weights / weights.max())


def _require_alike(checkpoints: Sequence[Checkpoint], any_dtype: bool) -> None:
    """Return if all have the same tensors.

    Raises:
        InvalidInputError: they do not; it names the tensor and the file.
    """
    first, *others = checkpoints
    for other in others:
        odd = min(set(first.tensors) ^ set(other.tensors), default=None)
        if odd is not None:
            has, lacks = (first, other) if odd in first.tensors else (other, first)
            raise _refusal(odd, f"is in {has.path} and not in {lacks.path}")
        for name, one in first.tensors.items():
            _require_same(name, one, other, any_dtype)


def _require_same(name: str, spec: Spec, other: Checkpoint, any_dtype: bool) -> None:
    found = other.tensors[name]
    if found.shape != spec.shape:
        raise _refusal(
            name,
            f"has shape {list(found.shape)} in {other.path} and {list(spec.shape)} in the first "
            "checkpoint; they are of different models",
        )
    both_averaged = _is_averaged(spec) and _is_averaged(found)
    if found.dtype != spec.dtype and not (any_dtype and both_averaged):
        raise _refusal(
            name,
            f"is {found.dtype} in {other.path} and {spec.dtype} in the first checkpoint"
            + ("; say which to write with a dtype" if both_averaged else ""),
        )


def _is_averaged(spec: Spec) -> bool:
    return str(spec.dtype).removeprefix("torch.") in DTYPES


def _written(specs: Mapping[str, Spec], dtype: str | None) -> dict[str, Spec]:
    """Return what is written, the widest dtypes first so that all are aligned."""
    import torch

    wanted = None if dtype is None else getattr(torch, dtype)
    cast = {
        name: Spec(wanted, spec.shape) if wanted is not None and _is_averaged(spec) else spec
        for name, spec in specs.items()
    }
    return dict(sorted(cast.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])))


def _average(
    checkpoints: Sequence[Checkpoint], weights: FloatArray, write: Writer, name: str, spec: Spec
) -> None:
    """Read a tensor's blocks, and write their means, or what is the same in all."""
    import torch

    mean, tensors = _is_averaged(spec), [one.tensors[name] for one in checkpoints]
    whole = any(one.stride is not None for one in tensors)
    step = max(1, spec.count if whole else min(spec.count, _BLOCK))
    widest = max((torch.float32, *(one.dtype for one in tensors)), key=lambda one: one.itemsize)
    sums = torch.empty(step, dtype=widest)
    buffer = torch.empty(step * widest.itemsize, dtype=torch.uint8)
    with ExitStack() as files:
        readers = [(one.path, files.enter_context(one.reading(buffer))) for one in tensors]
        for begin in range(0, spec.count, step):
            block = _Block(name, readers, sums, begin, min(begin + step, spec.count))
            write(name, begin, _mean(block, weights, spec) if mean else _common(block))


@dataclass(frozen=True, slots=True)
class _Block:
    """The same part of a tensor in each checkpoint, read anew whenever it is gone through."""

    name: str
    readers: Sequence[tuple[Path, Reader]]
    sums: "torch.Tensor"
    begin: int
    end: int

    def __iter__(self) -> Iterator[tuple[Path, "torch.Tensor"]]:
        """Yield files and numbers, which the next ones overwrite."""
        return ((path, read(self.begin, self.end)) for path, read in self.readers)


def _mean(block: _Block, weights: FloatArray, spec: Spec) -> "torch.Tensor":
    """Return the mean, in the dtype to write.

    Raises:
        InvalidInputError: it is NaN, or too large for the dtype.
    """
    mean = _sum(block, weights).div_(float(weights.sum()))
    if bool(mean.sum().isnan()) and bool(mean.isnan().any()):  # the sum is quick
        bad = next((path for path, numbers in block if bool(numbers.isnan().any())), None)
        raise _refusal(block.name, f"is NaN in {bad or 'the mean alone'}; leave that out")
    found = mean.to(spec.dtype)
    if found.dtype != mean.dtype and bool((found.isinf() & ~mean.isinf()).any()):
        raise _refusal(block.name, f"has numbers too large for {spec.dtype}; write another dtype")
    return found


def _sum(block: _Block, weights: FloatArray) -> "torch.Tensor":
    import torch

    total, turns = block.sums[: block.end - block.begin], iter(block)
    _, numbers = next(turns)
    torch.mul(numbers.to(total.dtype), float(weights[0]), out=total)
    for (_, numbers), weight in zip(turns, weights[1:].tolist(), strict=True):
        total.add_(numbers.to(total.dtype), alpha=weight)
    return total


def _common(block: _Block) -> "torch.Tensor":
    """Return what is the same in all checkpoints, to the last bit.

    Raises:
        InvalidInputError: it is not; it names the tensor and a file.
    """
    import torch

    turns = iter(block)
    first, numbers = next(turns)
    kept = numbers.clone()
    for path, other in turns:
        if not torch.equal(kept.view(torch.uint8), other.view(torch.uint8)):
            raise _refusal(
                block.name,
                f"is {kept.dtype}, which is not averaged, and differs between {first} and {path}",
            )
    return kept


def _refusal(name: str, what: str) -> InvalidInputError:
    return InvalidInputError(f"tensor '{name}' {what}", field="checkpoints")
