"""Averages of checkpoints, one tensor at a time, so that memory is that of the largest two.

Source:
    Averaging checkpoints in place of decaying the rate: arXiv:2511.18903, whose weights are in
    `mixwright.schedules.averaging`. Means are in fp32 after training, as is usual [R].
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.checkpoints.reading import Checkpoint, Spec, files_of
from mixwright.checkpoints.writing import writing
from mixwright.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

DTYPES: Final = ("float32", "bfloat16", "float16", "float64")
"""What is averaged, and may be written; tensors of any other dtype must be the same in all."""
_KEEP = 1 << 26  # bytes that stay mapped between two tensors, of all checkpoints together


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
    checkpoints = [Checkpoint(path, _KEEP // len(paths)) for path in paths]
    if out.resolve() in {file.resolve() for file in files_of(checkpoints)}:
        raise InvalidInputError(f"{out} is one of the checkpoints; name another file", field="out")
    _require_alike(checkpoints, any_dtype=dtype is not None)
    specs = _written(checkpoints[0].specs, dtype)
    size, done = sum(one.size for one in specs.values()), 0
    with writing(out, specs) as write:
        for name, spec in specs.items():
            write(name, _one(checkpoints, weights, name, spec))
            done += spec.size
            tell(done / max(size, 1))
    means = sum(_is_averaged(one) for one in specs.values())
    files = tuple(tuple(str(file.path) for file in one.files) for one in checkpoints)
    shares = tuple((weights / weights.sum()).tolist())
    return Averaged(shares, files, means, len(specs) - means, size)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
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
        odd = min(set(first.specs) ^ set(other.specs), default=None)
        if odd is not None:
            has, lacks = (first, other) if odd in first.specs else (other, first)
            raise _refusal(odd, f"is in {has.path} and not in {lacks.path}")
        for name, one in first.specs.items():
            _require_same(name, one, other, any_dtype)


def _require_same(name: str, spec: Spec, other: Checkpoint, any_dtype: bool) -> None:
    found = other.specs[name]
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
        name: _as_dtype(spec, wanted) if wanted is not None and _is_averaged(spec) else spec
        for name, spec in specs.items()
    }
    return dict(sorted(cast.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])))


def _as_dtype(spec: Spec, dtype: "torch.dtype") -> Spec:
    return Spec(dtype, spec.shape, spec.size // spec.dtype.itemsize * dtype.itemsize)


def _one(
    checkpoints: Sequence[Checkpoint], weights: FloatArray, name: str, spec: Spec
) -> "torch.Tensor":
    """Return the tensor of this name to write."""
    if not _is_averaged(spec):
        return _common(checkpoints, name)
    mean = _mean(checkpoints, weights, name)
    found = mean.to(spec.dtype)
    if bool(mean.sum().isnan()) and bool(mean.isnan().any()):  # the sum is quick
        bad = [one.path for one in checkpoints if one.use(name, lambda x: bool(x.isnan().any()))]
        raise _refusal(name, f"is NaN in {bad[0] if bad else 'the mean alone'}; leave that out")
    if found.dtype != mean.dtype and bool((found.isinf() & ~mean.isinf()).any()):
        raise _refusal(name, f"has numbers too large for {spec.dtype}; write another dtype")
    return found


def _mean(checkpoints: Sequence[Checkpoint], weights: FloatArray, name: str) -> "torch.Tensor":
    import torch

    spec = checkpoints[0].specs[name]
    wide = [one.specs[name].dtype == torch.float64 for one in checkpoints]
    total = torch.zeros(spec.shape, dtype=torch.float64 if any(wide) else torch.float32)
    for checkpoint, weight in zip(checkpoints, weights.tolist(), strict=True):
        _add(total, checkpoint, name, weight)
    return total.div_(float(weights.sum()))


def _add(total: "torch.Tensor", checkpoint: Checkpoint, name: str, weight: float) -> None:
    checkpoint.use(name, lambda tensor: total.add_(tensor.to(total.dtype), alpha=weight))


def _common(checkpoints: Sequence[Checkpoint], name: str) -> "torch.Tensor":
    """Return a tensor that is the same in all checkpoints.

    Raises:
        InvalidInputError: it is not; it names the tensor and a file.
    """
    import torch

    first, *others = checkpoints
    kept = first.use(name, torch.clone)
    for other in others:
        if not other.use(name, lambda tensor: torch.equal(kept, tensor)):
            raise _refusal(
                name,
                f"is {kept.dtype}, which is not averaged, and differs between {first.path} and "
                f"{other.path}",
            )
    return kept


def _refusal(name: str, what: str) -> InvalidInputError:
    return InvalidInputError(f"tensor '{name}' {what}", field="checkpoints")
