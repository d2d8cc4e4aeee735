"""Uniform numbers that are a function of a document's name and a seed, and of nothing else.

Whoever asks gets the same number: on any machine, in any order of shards, after any restart.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError

Ids = Sequence[str] | Sequence[bytes] | Sequence[int] | npt.NDArray[np.generic]

_BITS = 53


def uniforms_of(ids: Ids, seed: int) -> FloatArray:
    """Return a number in [0, 1) for every document.

    It is the leading 53 bits of BLAKE2b (RFC 7693) of the name's UTF-8, salted with the seed. An
    integer counts as its decimal digits, so 7 and "7" are the same document, as are "a" and b"a".

    Args:
        ids: names of the documents, n of them: text, bytes or integers.
        seed: 0 to 2^64 - 1.

    Returns:
        Shape `(n,)`.

    Raises:
        InvalidInputError: a name is something else (or missing), or the seed out of range.
    """
    if not 0 <= seed < 2**64:
        raise InvalidInputError(f"seed is {seed}; it must be 0 to 2^64 - 1", field="seed")
    names = ids.tolist() if isinstance(ids, np.ndarray) else ids
    salt = seed.to_bytes(8, "little")
    digests = b"".join(blake2b(_encode(name), digest_size=8, salt=salt).digest() for name in names)
    words = np.frombuffer(digests, dtype=">u8").astype(np.uint64)
    return (words >> np.uint64(64 - _BITS)).astype(np.float64) * 2.0**-_BITS


def _encode(name: object) -> bytes:
    if isinstance(name, str):
        return name.encode("utf-8", "surrogatepass")
    if isinstance(name, bytes):
        return name
    if isinstance(name, int | np.integer) and not isinstance(name, bool):
        return str(name).encode()
    raise InvalidInputError(
        f"a document is named {name!r}; names must be text, bytes or whole numbers", field="id"
    )
