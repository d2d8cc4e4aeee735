"""Blocks of documents by number: sets of them as bits, a loss for each, and who is lowest.

States keep bits and losses as they are, in base64. Compressing losses would save a quarter and
take longer than the rest of a stage; and two builds of zlib may write the same bits differently,
while equal states must be equal bytes. Messages are compressed.
"""

import base64
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixwright.arrays import BoolArray, FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright.philox import philox, unit
from mixwright.reweighting.base import MOST_MISSING, Blocks, Json, Observation

MOST_BLOCKS = 20_000_000
"""Blocks that a reweighter can be made for; an update needs up to 90 bytes for each."""
_FEW = 1000  # blocks that a message also names one by one
_AT_ONCE = 2**15  # random numbers: what fits into a processor's cache


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A set of blocks.

    Attributes:
        members: shape `(n,)`, whether block i belongs to it.
    """

    members: BoolArray

    @classmethod
    def from_ids(cls, ids: IntArray, size: int) -> "Bitmap":
        """Return the set of these blocks out of `size`."""
        members = np.zeros(size, dtype=bool)
        members[ids] = True
        return cls(members)

    def to_ids(self) -> IntArray:
        """Return the numbers of its blocks, ascending."""
        return np.flatnonzero(self.members)

    @property
    def count(self) -> int:
        """How many blocks belong to it."""
        return int(np.count_nonzero(self.members))

    def to_memory(self) -> str:
        """Return base64 of bits: block i is bit i, the highest bit of each byte first."""
        return base64.b64encode(np.packbits(self.members).tobytes()).decode()

    @classmethod
    def from_memory(cls, text: str, size: int) -> "Bitmap":
        """Return the set of blocks out of `size` that `to_memory` wrote."""
        return cls(_bits(base64.b64decode(text), size))

    def to_text(self) -> str:
        """Return base64 of the bits of `to_memory`, compressed by zlib."""
        packed = np.packbits(self.members).tobytes()
        return base64.b64encode(zlib.compress(packed, 1)).decode()

    @classmethod
    def from_text(cls, text: str, size: int) -> "Bitmap":
        """Return the set of blocks out of `size` that `to_text` wrote."""
        return cls(_bits(zlib.decompress(base64.b64decode(text)), size))

    def message(self) -> dict[str, Json]:
        """Return what a trainer is told: size, count, bitmap, and ids where they are few."""
        count = self.count
        told = {"size": len(self.members), "count": count, "bitmap": self.to_text()}
        return {**told, "ids": self.to_ids().tolist()} if count <= _FEW else told


@dataclass(frozen=True, slots=True)
class BlockMemory:
    """The last loss of every block.

    Attributes:
        losses: shape `(n,)`, float32; NaN of a block that was not seen.
    """

    losses: NDArray[np.float32]

    @classmethod
    def empty(cls, size: int) -> "BlockMemory":
        """Return a memory of `size` blocks, none of which was seen."""
        return cls(np.full(size, np.nan, dtype=np.float32))

    def after(self, blocks: Blocks) -> "BlockMemory":
        """Return the memory with these losses; of a block named twice the last counts."""
        losses = self.losses.copy()
        with np.errstate(over="ignore"):
            told = blocks.losses.astype(np.float32)
        told[~np.isfinite(told)] = np.nan
        losses[blocks.ids] = told
        return BlockMemory(losses)

    def to_memory(self) -> str:
        """Return base64 of the losses, little-endian."""
        return base64.b64encode(self.losses.astype("<f4").tobytes()).decode()

    @classmethod
    def from_memory(cls, text: str) -> "BlockMemory":
        """Return what `to_memory` wrote."""
        return cls(np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float32))


def told_blocks(observation: Observation, size: int) -> Blocks | str:
    """Return an observation's losses of blocks out of `size`, or why they cannot be used.

    Losses that are not finite stay, for they say that the block was trained on.
    """
    blocks = observation.blocks
    if blocks is None or not len(blocks.ids):
        return "it has no block_losses"
    outside = (blocks.ids < 0) | (blocks.ids >= size)
    if outside.any():
        return f"block {blocks.ids[outside][0]} is not one of the {size} blocks"
    if (~np.isfinite(blocks.losses)).mean() > MOST_MISSING:
        return "losses of most blocks are missing or not finite"
    return blocks


def need_blocks(size: int) -> None:
    """Check that an algorithm was told how many blocks there are.

    Raises:
        InvalidInputError: it was not.
    """
    if size < 1:
        raise InvalidInputError(
            "option 'blocks' is needed: how many blocks there are", field="options/blocks"
        )


def lowest(values: FloatArray, count: int) -> BoolArray:
    """Return which are the `count` lowest of values `(n,)` without NaN; of equals, the first."""
    if count < 1 or count >= len(values):
        return np.full(len(values), count >= 1)
    limit = np.partition(values, count - 1)[count - 1]
    chosen: BoolArray = values < limit
    chosen[np.flatnonzero(values == limit)[: count - np.count_nonzero(chosen)]] = True
    return chosen


def gumbel(size: int, seed: int, stage: int) -> FloatArray:
    """Return standard Gumbel noise `(size,)`: that of block i is a function of (seed, stage, i)."""
    noise = np.empty(size)
    for start in range(0, size, _AT_ONCE):
        pairs = np.arange(start // 2, (min(start + _AT_ONCE, size) + 1) // 2, dtype=np.uint64)
        words = philox((pairs, stage, 0, 0), (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF))
        drawn = unit(words[:, ::2], words[:, 1::2]).ravel()[: size - start]
        noise[start : start + len(drawn)] = -np.log(-np.log(drawn + 2.0**-54))
    return noise


def _bits(packed: bytes, size: int) -> BoolArray:
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=size).astype(bool)
