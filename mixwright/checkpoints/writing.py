"""Files of tensors that are written one tensor after the other, without all of them in memory.

A safetensors file is the length of its header (8 bytes, little-endian), the header as JSON, and
the tensors' bytes: https://huggingface.co/docs/safetensors, "Format". The library writes it only
from tensors that are all in memory. A torch file is laid out by torch itself and then filled in.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from mixwright.checkpoints.reading import SAFETENSORS, TORCH, Spec
from mixwright.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

_ALIGNMENT = 8
_NAMES: Final = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}
"""What safetensors calls torch's dtypes."""


Writer = Callable[[str, "torch.Tensor"], None]
"""Takes a name and its tensor, in the order of the specs that it was opened with."""


@contextmanager
def writing(out: Path, specs: Mapping[str, Spec]) -> Iterator[Writer]:
    """Yield what writes tensors to a file, which is there once all of them are, or not at all.

    Args:
        out: ends in .safetensors, .pt, .pth or .bin.
        specs: of the tensors, by name.

    Raises:
        InvalidInputError: another ending, a dtype that the format lacks, or a file that cannot be
            written.
    """
    if out.suffix not in (*SAFETENSORS, *TORCH):
        known = ", ".join((*SAFETENSORS, *TORCH))
        raise InvalidInputError(f"{out} must end in one of {known}", field="out")
    beside = out.with_name(f".{out.name}.{os.getpid()}.partial")
    opened = _writing_safetensors if out.suffix in SAFETENSORS else _writing_torch
    try:
        with opened(beside, specs) as writer:
            yield writer
        _flush(beside)
        os.replace(beside, out)
    except OSError as error:
        raise InvalidInputError(f"{out} cannot be written: {error}", field="out") from error
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _writing_safetensors(path: Path, specs: Mapping[str, Spec]) -> Iterator[Writer]:
    header = _header(specs)
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with path.open("ab") as file:
        yield lambda name, tensor: _append(file, tensor)


def _append(file: BinaryIO, tensor: "torch.Tensor") -> None:
    import torch

    flat = tensor.contiguous().reshape(-1).view(torch.uint8)
    file.write(flat.numpy().data)


def _header(specs: Mapping[str, Spec]) -> bytes:
    """Return the header of a safetensors file, filled up with spaces to whole 8 bytes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, spec in specs.items():
        kind = str(spec.dtype).removeprefix("torch.")
        if kind not in _NAMES:
            raise InvalidInputError(
                f"tensor '{name}' is {kind}, which safetensors files lack; write a .pt", field="out"
            )
        begin, end = end, end + spec.size
        entries[name] = {
            "dtype": _NAMES[kind],
            "shape": list(spec.shape),
            "data_offsets": [begin, end],
        }
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    return header + b" " * (-len(header) % _ALIGNMENT)


@contextmanager
def _writing_torch(path: Path, specs: Mapping[str, Spec]) -> Iterator[Writer]:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode  # knows where storages lie

    empty = {name: torch.empty(one.shape, dtype=one.dtype) for name, one in specs.items()}
    with torch.serialization.skip_data():  # memory that is never touched is never used
        torch.save(empty, path)
    with FakeTensorMode():
        laid_out = torch.load(path, weights_only=True)
    with path.open("r+b") as file:

        def write(name: str, tensor: "torch.Tensor") -> None:
            file.seek(laid_out[name].untyped_storage()._checkpoint_offset)
            _append(file, tensor)

        yield write


def _flush(path: Path) -> None:
    """Have the file on the disk before its name is given away."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
