"""Files of tensors that are written block by block, without a whole tensor in memory.

A file is laid out first and then filled in. Torch does so itself; the library of safetensors writes
only tensors that are all in memory, so its header is written here, as its page "Format" says.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from mixwright.checkpoints.reading import SAFETENSORS, TORCH
from mixwright.checkpoints.stored import DTYPES, Spec, Stored, in_safetensors, in_torch
from mixwright.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

_ALIGNMENT = 8
_NAMES: Final = {name: kind for kind, name in DTYPES.items()}

Writer = Callable[[str, int, "torch.Tensor"], None]
"""Writes numbers of the tensor of a name, from the one of a place on, rows one after the other."""


@contextmanager
def writing(out: Path, specs: Mapping[str, Spec]) -> Iterator[Writer]:
    """Yield what writes tensors to a file, which is there in the end, or not at all.

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
    lay_out = _lay_out_safetensors if out.suffix in SAFETENSORS else _lay_out_torch
    try:
        places = lay_out(beside, specs)
        with beside.open("r+b", buffering=0) as file:
            yield lambda name, begin, block: _write(file, places[name], begin, block)
            os.fsync(file.fileno())  # it is on the disk before its name is given away
        os.replace(beside, out)
    except OSError as error:
        raise InvalidInputError(f"{out} cannot be written: {error}", field="out") from error
    finally:
        beside.unlink(missing_ok=True)


def _write(file: BinaryIO, place: Stored, begin: int, block: "torch.Tensor") -> None:
    """Write bytes where they go; a call may take fewer than it was given."""
    import torch

    rest, offset = block.view(torch.uint8).numpy().data, place.offset + begin * block.itemsize
    while rest:
        count = os.pwrite(file.fileno(), rest, offset)
        rest, offset = rest[count:], offset + count


def _lay_out_safetensors(path: Path, specs: Mapping[str, Spec]) -> Mapping[str, Stored]:
    """Write a file of which only the tensors' numbers are missing, and return where they go."""
    header = _header(specs)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(file.tell() + sum(spec.size for spec in specs.values()))
    return in_safetensors(path)


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


def _lay_out_torch(path: Path, specs: Mapping[str, Spec]) -> Mapping[str, Stored]:
    """Write a file of which only the tensors' numbers are missing, and return where they go."""
    import torch

    path.touch()  # or says why not, which torch does not
    empty = {name: torch.empty(one.shape, dtype=one.dtype) for name, one in specs.items()}
    with torch.serialization.skip_data():  # memory that is never touched is never used
        torch.save(empty, path)
    return in_torch(path)
