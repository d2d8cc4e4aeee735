"""Forests of regression trees as arrays, so that prediction needs NumPy alone.

All trees of all metrics lie in one set of node arrays. A leaf is its own child, so that walking
`depth` steps from every root ends in a leaf everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.surrogates.base import State

_STEPS_AT_ONCE = 100_000  # mixtures times trees walked together: bounds memory


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees of several metrics; a prediction is the sum of a metric's leaves, in order.

    Attributes:
        feature: shape `(nodes,)`, the domain a node asks about.
        threshold: shape `(nodes,)`; shares up to it go left. Infinite in leaves.
        left: shape `(nodes,)`.
        right: shape `(nodes,)`.
        value: shape `(nodes,)`, 0 in inner nodes.
        roots: shape `(trees,)`.
        first_tree: shape `(m + 1,)`, where each metric's trees begin in `roots`.
        depth: of the deepest tree.
    """

    feature: IntArray
    threshold: FloatArray
    left: IntArray
    right: IntArray
    value: FloatArray
    roots: IntArray
    first_tree: IntArray
    depth: int

    @classmethod
    def of(cls, metrics: Sequence[Sequence[Mapping[str, Any]]]) -> Self:
        """Build from LightGBM's dumps: for each metric, the structure of every tree."""
        nodes: list[list[float]] = []
        roots, first_tree, depth = [], [0], 0
        for trees in metrics:
            for tree in trees:
                roots.append(len(nodes))
                depth = max(depth, _append(tree, nodes))
            first_tree.append(len(roots))
        columns = np.array(nodes, dtype=np.float64).reshape(-1, 5).T
        feature, left, right = (columns[i].astype(np.int64) for i in (0, 2, 3))
        return cls(
            feature,
            columns[1],
            left,
            right,
            columns[4],
            np.array(roots, dtype=np.int64),
            np.array(first_tree, dtype=np.int64),
            depth,
        )

    def predict(self, mixtures: FloatArray) -> FloatArray:
        """Return predictions `(q, m)` at `mixtures` `(q, k)`."""
        at_once = max(_STEPS_AT_ONCE // max(len(self.roots), 1), 1)
        starts = range(0, len(mixtures), at_once)
        blocks = [self._predict(mixtures[start : start + at_once]) for start in starts]
        return np.vstack([np.empty((0, len(self.first_tree) - 1)), *blocks])

    def _predict(self, mixtures: FloatArray) -> FloatArray:
        """Walk all trees at once; flat `take`s are twice as fast as fancy indexing."""
        children = np.column_stack([self.left, self.right]).astype(np.int32).ravel()
        feature, shares = self.feature.astype(np.int32), mixtures.ravel()
        first_share = np.arange(len(mixtures), dtype=np.int32)[:, None] * mixtures.shape[1]
        roots = self.roots.astype(np.int32)
        node = np.broadcast_to(roots, (len(mixtures), len(roots)))
        for _ in range(self.depth):
            goes_right = shares.take(feature.take(node) + first_share) > self.threshold.take(node)
            node = children.take(2 * node + goes_right)
        leaves = self.value.take(node)  # (q, trees)
        bounds = zip(self.first_tree[:-1], self.first_tree[1:], strict=True)
        return np.stack([leaves[:, low:high].sum(axis=1) for low, high in bounds], axis=1)

    def to_state(self) -> State:
        """Return the arrays; numbers of nodes are exact as floats."""
        names = ("feature", "threshold", "left", "right", "value", "roots", "first_tree")
        state = {name: getattr(self, name).astype(np.float64) for name in names}
        return {**state, "depth": np.array(float(self.depth))}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from `to_state`."""
        whole = ("feature", "left", "right", "roots", "first_tree")
        arrays = {name: state[name].astype(np.int64) for name in whole}
        return cls(
            threshold=state["threshold"],
            value=state["value"],
            depth=int(state["depth"]),
            **arrays,
        )


def _append(tree: Mapping[str, Any], nodes: list[list[float]]) -> int:
    """Append a (sub)tree to `nodes` as feature, threshold, left, right, value; return its depth."""
    place = len(nodes)
    if "leaf_value" in tree:
        nodes.append([0, np.inf, place, place, tree["leaf_value"]])
        return 0
    nodes.append([tree["split_feature"], tree["threshold"], place + 1, 0, 0.0])
    left = _append(tree["left_child"], nodes)
    nodes[place][3] = len(nodes)
    return 1 + max(left, _append(tree["right_child"], nodes))
