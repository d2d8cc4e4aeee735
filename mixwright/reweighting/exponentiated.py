"""The two steps that nearly all reweighters share: exponentiated gradient, and a softmax.

Grade of evidence: EXEC, as part of DoReMi, DoGE, Aioli and LLM-Shearing.
"""

import numpy as np

from mixwright.arrays import FloatArray


def exponentiated_gradient(weights: FloatArray, scores: FloatArray, smoothing: float) -> FloatArray:
    """Return `(1 - ε) softmax(log p + s) + ε / k`, shape `(k,)`.

    A weight of zero stays zero where there is no smoothing, whatever its score.

    Args:
        weights: p, shape `(k,)`, on the simplex.
        scores: s, shape `(k,)`, finite; only differences matter.
        smoothing: ε, from 0 to 1.
    """
    with np.errstate(divide="ignore"):
        logits = np.log(weights) + scores
    return smoothed(softmax(logits), smoothing)


def softmax(logits: FloatArray) -> FloatArray:
    """Return the softmax `(k,)` of logits `(k,)`, of which one at least is finite."""
    raised = np.exp(logits - logits.max())
    return np.asarray(raised / raised.sum())


def smoothed(weights: FloatArray, smoothing: float) -> FloatArray:
    """Return weights `(k,)` mixed with the uniform ones."""
    mixed: FloatArray = (1.0 - smoothing) * weights + smoothing / len(weights)
    return mixed
