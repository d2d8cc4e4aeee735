"""Tensors that stay in their files: where each lies, and its numbers, read block by block.

Headers say where tensors are, so numbers are read without the libraries that wrote them: nothing is
mapped, and memory is that of a block.
"""

import json
import math
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from mixwright.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

Reader = Callable[[int, int], "torch.Tensor"]
"""Returns a tensor's numbers from one to before another, rows one after the other."""

DTYPES: Final = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}
"""What torch calls the dtypes of safetensors."""

_STATES: Final = ("model", "state_dict", "model_state_dict", "module")
"""Where trainers keep parameters."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What a tensor is, without its numbers."""

    dtype: "torch.dtype"
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Of its numbers."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Stored(Spec):
    """A tensor in a file.

    Attributes:
        path: of the file.
        offset: in the file, of its first number, in bytes.
        stride: of each axis, in numbers; None if rows follow on each other without gaps.
    """

    path: Path
    offset: int
    stride: tuple[int, ...] | None = None

    @contextmanager
    def reading(self, buffer: "torch.Tensor") -> Iterator[Reader]:
        """Yield what reads the tensor's numbers.

        Args:
            buffer: bytes, uint8, for as many numbers as are read at a time. They are overwritten
                by whatever is read next.

        Raises:
            InvalidInputError: the file is gone, or cannot be read to the tensor's end.
        """
        places, numbers = buffer.numpy().data, buffer.view(self.dtype)

        def read(begin: int, end: int) -> "torch.Tensor":
            if self.stride is not None:
                return self._whole(file)[begin:end]
            size = self.dtype.itemsize
            self._fill(file, places[: (end - begin) * size], self.offset + begin * size)
            return numbers[: end - begin]

        with _opened(self.path) as file:
            yield read

    def _whole(self, file: int) -> "torch.Tensor":
        """Return all numbers of a tensor with gaps, or whose rows are not in order."""
        import torch

        stride = self.stride or ()
        span = torch.empty(_span(self.shape, stride), dtype=self.dtype)
        self._fill(file, span.view(torch.uint8).numpy().data, self.offset)
        return span.as_strided(self.shape, stride).reshape(-1)

    def _fill(self, file: int, places: memoryview, offset: int) -> None:
        """Read bytes from an offset on; a call may bring fewer than were asked for."""
        while places:
            try:
                count = os.preadv(file, [places], offset)
            except OSError as error:
                raise _refusal(f"{self.path} cannot be read: {error}") from error
            if not count:
                raise _refusal(f"{self.path} is broken: it ends within a tensor")
            places, offset = places[count:], offset + count


def in_safetensors(path: Path) -> Mapping[str, Stored]:
    """Return where the tensors of a safetensors file are, by name.

    The library checks the file; it does not tell where tensors are, which its header does: a length
    (8 bytes, little-endian), JSON, and then the tensors' bytes
    (https://huggingface.co/docs/safetensors, "Format").

    Raises:
        InvalidInputError: it cannot be read, is broken, or has a dtype that torch lacks.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt"), path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (SafetensorError, OSError) as error:
        raise _refusal(f"{path} is broken, or is no safetensors file: {error}") from error
    header.pop("__metadata__", None)
    return {name: _described(name, one, path, 8 + length) for name, one in header.items()}


def _described(name: str, entry: Mapping[str, Any], path: Path, begin: int) -> Stored:
    """Return where a tensor is, of which the header has an entry; offsets count from its end."""
    import torch

    if entry["dtype"] not in DTYPES:
        raise _refusal(f"tensor '{name}' in {path} is {entry['dtype']}, which is not known here")
    dtype = getattr(torch, DTYPES[entry["dtype"]])
    return Stored(dtype, tuple(entry["shape"]), path, begin + entry["data_offsets"][0])


def in_torch(path: Path) -> Mapping[str, Stored]:
    """Return where the tensors of a torch file are, by name.

    Raises:
        InvalidInputError: it cannot be read, is broken, was not written by torch itself, or holds
            other things than tensors of numbers.
    """
    import torch

    try:
        storages = _storages(path)
        document = torch.load(path, map_location="meta", weights_only=True)  # reads no numbers
    except (RuntimeError, pickle.UnpicklingError, OSError, ValueError, EOFError) as error:
        first = str(error).split("\n")[0]
        raise _refusal(f"{path} is broken, or holds more than tensors: {first}") from error
    state = _state_of(document, path)
    return {name: _stored(name, tensor, path, storages) for name, tensor in state.items()}


def _storages(path: Path) -> dict[int, int]:
    """Return what lies uncompressed in a torch file, which is a zip file: offsets and sizes.

    Raises:
        ValueError: it is no such file, or one of a machine with another order of bytes.
    """
    try:
        with zipfile.ZipFile(path) as records, path.open("rb") as file:
            orders = [one for one in records.namelist() if one.endswith("/byteorder")]
            if any(records.read(one).decode() != sys.byteorder for one in orders):
                raise ValueError("its bytes are in another order than this machine's")
            plain = [one for one in records.infolist() if one.compress_type == zipfile.ZIP_STORED]
            return {_begin_of(file, one): one.file_size for one in plain}
    except (zipfile.BadZipFile, struct.error) as error:
        raise ValueError(
            f"{error}; torch has written zip files since 1.6: load older ones and save them anew"
        ) from error


def _begin_of(file: BinaryIO, record: zipfile.ZipInfo) -> int:
    """Return where a record's bytes begin: after a header, whose end has two lengths."""
    file.seek(record.header_offset + 26)
    name, extra = map(int, struct.unpack("<HH", file.read(4)))
    return record.header_offset + 30 + name + extra


def _state_of(document: Any, path: Path) -> Mapping[str, "torch.Tensor"]:  # noqa: ANN401  - a pickle
    """Return the tensors by name of what a torch file holds."""
    import torch

    inner = [key for key in _STATES if isinstance(document, dict) and key in document]
    state = document[inner[0]] if inner and isinstance(document[inner[0]], dict) else document
    if not isinstance(state, dict) or not state:
        raise _refusal(f"{path} holds {type(document).__name__}; expected tensors by name")
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise _refusal(
                f"'{name}' in {path} is no tensor but {type(value).__name__}; save the model's "
                f"state_dict alone, or under one of {', '.join(_STATES)}"
            )
    return state


def _stored(name: str, tensor: "torch.Tensor", path: Path, storages: Mapping[int, int]) -> Stored:
    """Return where a tensor is, whose storage torch has found in the file."""
    import torch

    if tensor.layout != torch.strided or tensor.is_conj() or tensor.is_neg():
        raise _refusal(f"'{name}' in {path} is sparse, or not stored as it is; save it as numbers")
    begin, size = tensor.untyped_storage()._checkpoint_offset, tensor.dtype.itemsize
    skipped, span = int(tensor.storage_offset()), _span(tensor.shape, tensor.stride())
    if begin is None or (skipped + span) * size > storages.get(begin, -1):
        raise _refusal(
            f"{path} is broken, or was packed by another program than torch: '{name}' is not in "
            "it as it was; load it with torch and save it anew"
        )
    stride = None if tensor.is_contiguous() else tensor.stride()
    return Stored(tensor.dtype, tuple(tensor.shape), path, begin + skipped * size, stride)


def _span(shape: Sequence[int], stride: Sequence[int]) -> int:
    """Return how many numbers lie from a tensor's first to its last, both among them."""
    if 0 in shape:
        return 0
    return 1 + sum((count - 1) * step for count, step in zip(shape, stride, strict=True))


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise _refusal(f"{path} cannot be read: {error}") from error
    try:
        yield file
    finally:
        os.close(file)


def _refusal(detail: str) -> InvalidInputError:
    return InvalidInputError(detail, field="checkpoints")
