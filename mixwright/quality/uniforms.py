"""Uniform numbers that are a function of a document's name and a seed, and of nothing else.

Whoever asks gets the same number: on any machine, in any order of shards, after any restart.
"""

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright_client import sampling_function
from mixwright_client.sampling_function import Ids


def uniforms_of(ids: Ids, seed: int) -> FloatArray:
    """Return a number in [0, 1) for every document: BLAKE2b of its name, salted with the seed.

    Args:
        ids: names of the documents, n of them: text, bytes or integers; 7 and "7" are the same.
        seed: 0 to 2^64 - 1.

    Returns:
        Shape `(n,)`.

    Raises:
        InvalidInputError: a name is something else (or missing), or the seed out of range.
    """
    try:
        return sampling_function.uniforms_of(ids, seed)
    except sampling_function.SamplingError as error:
        raise InvalidInputError(str(error), "id" if 0 <= seed < 2**64 else "seed") from error
