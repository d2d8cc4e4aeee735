"""Proxy models: their shapes, what they count, and what a token costs to train.

A proxy is a decoder: an embedding, `layers` blocks of causal attention with rotary positions and a
gated feed-forward net (SwiGLU), RMS norms, and a head over the vocabulary. Small models with large
vocabularies are mostly head: RegMix's "1M" has 1.3M parameters in its blocks and 12.9M in the head
over 50,432 tokens, 85 % of its arithmetic. So parameters are always told as body and head.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mixwright.errors import InvalidInputError

PRESETS: Final[Mapping[str, Mapping[str, int]]] = {
    "65k": {"layers": 1, "width": 64, "heads": 4, "feed_forward": 80, "context": 64},
    "1m": {"layers": 2, "width": 256, "heads": 8, "feed_forward": 512, "context": 512},
    "15m": {"layers": 8, "width": 384, "heads": 6, "feed_forward": 1024, "context": 1024},
    "30m": {"layers": 10, "width": 512, "heads": 8, "feed_forward": 1376, "context": 1024},
    "60m": {"layers": 12, "width": 640, "heads": 10, "feed_forward": 1712, "context": 1024},
}
"""Sizes by name. `65k` counts embedding and head over 256 bytes, the others count the body alone:

| name | body | head over 4096 | head over 50,432 |
| ---- | ---- | -------------- | ---------------- |
| 65k  | 32 k (and 16 k of head over 256) | 0.26 M | 3.2 M |
| 1m   | 1.3 M (RegMix's body) | 1.0 M | 12.9 M |
| 15m  | 14.2 M | 1.6 M | 19.4 M |
| 30m  | 31.6 M | 2.1 M | 25.8 M |
| 60m  | 59.1 M | 2.6 M | 32.3 M |
"""


@dataclass(frozen=True, slots=True)
class ProxyModel:
    """A decoder's shape.

    Attributes:
        layers: number of blocks.
        width: of the residual stream.
        heads: of attention; they divide `width` into even parts.
        feed_forward: inner width of the gated net.
        context: tokens a sequence.
        vocabulary: number of tokens there are.
        tied: whether the head is the embedding.

    Raises:
        InvalidInputError: a shape that cannot be; names the field.
    """

    layers: int
    width: int
    heads: int
    feed_forward: int
    context: int
    vocabulary: int
    tied: bool = False

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "feed_forward", "context", "vocabulary"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name} has to be 1 or more", f"model/{name}")
        if self.width % (2 * self.heads):
            raise InvalidInputError(
                f"{self.heads} heads do not divide a width of {self.width} into even parts, which "
                "rotary positions need",
                "model/heads",
            )

    @property
    def body_parameters(self) -> int:
        """Parameters of the blocks and the last norm: what scaling laws call N."""
        attention, gated = 4 * self.width**2, 3 * self.width * self.feed_forward
        return self.layers * (attention + gated + 2 * self.width) + self.width

    @property
    def head_parameters(self) -> int:
        """Parameters of the head over the vocabulary."""
        return self.width * self.vocabulary

    @property
    def parameters(self) -> int:
        """All parameters, the embedding's too."""
        return self.body_parameters + self.head_parameters * (1 if self.tied else 2)

    @property
    def flops_per_token(self) -> int:
        """Floating-point operations to train on a token, forward and backward.

        6 for each parameter of a matrix, and `6 * layers * width * context` for causal attention
        (half of the full one). Norms, rotations and the softmax are left out, as is usual.
        """
        matrices = self.layers * (4 * self.width**2 + 3 * self.width * self.feed_forward)
        attention = self.layers * self.width * self.context
        return 6 * (matrices + self.head_parameters + attention)


def preset(name: str, vocabulary: int) -> ProxyModel:
    """Return the preset with this name.

    Raises:
        InvalidInputError: there is none; names those there are.
    """
    if name not in PRESETS:
        raise InvalidInputError(f"'{name}' is no preset, they are {', '.join(PRESETS)}", "model")
    return ProxyModel(**PRESETS[name], vocabulary=vocabulary)  # type: ignore[arg-type]  # ints
