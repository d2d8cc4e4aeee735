"""Arrays as bytes to store: each compressed, with the first bytes of its numbers together.

Neighbouring numbers have alike first bytes (sign, exponent), so bytes are transposed before they
are compressed, as HDF5's shuffle filter does. It loses nothing.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

_HEAD = struct.Struct("<I")  # length of the header
_LEVEL = 1  # higher ones take three times as long for a few per cent


def pack(arrays: Sequence[Array]) -> bytes:
    """Return arrays `(n,)` of numbers as bytes."""
    packed = [zlib.compress(_shuffled(one), _LEVEL) for one in arrays]
    sizes = [(one.dtype.str, len(data)) for one, data in zip(arrays, packed, strict=True)]
    header = json.dumps(sizes).encode()
    return b"".join([_HEAD.pack(len(header)), header, *packed])


def unpack(content: bytes) -> list[Array]:
    """Return the arrays that `pack` was given."""
    (length,) = _HEAD.unpack_from(content)
    place = _HEAD.size + length
    found = []
    for kind, size in json.loads(content[_HEAD.size : place]):
        found.append(_restored(zlib.decompress(content[place : place + size]), np.dtype(kind)))
        place += size
    return found


def _shuffled(array: Array) -> bytes:
    plain = np.ascontiguousarray(array).view(np.uint8)
    return plain.reshape(-1, array.dtype.itemsize).T.tobytes()


def _restored(data: bytes, kind: np.dtype[Any]) -> Array:
    planes = np.frombuffer(data, np.uint8).reshape(kind.itemsize, -1)
    return np.ascontiguousarray(planes.T).view(kind).ravel()
