"""How much a text is like good texts and unlike bad ones: logistic regression on hashed n-grams.

Source:
    As a filter: Brown et al., arXiv:2005.14165, appendix A, and Li et al., "DataComp-LM",
    arXiv:2406.11794, which uses fastText [R].

Departures:
    * Words and pairs of words are hashed to 2^bits features of unit length, and the logistic
      regression is scikit-learn's with an L2 penalty; fastText learns embeddings of them [I].
    * Both classes weigh the same, however many texts they have.

Needs the extra `fit`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from mixwright.arrays import BoolArray, FloatArray
from mixwright.errors import InvalidInputError
from mixwright.quality.columns import texts_of
from mixwright.scoring.models import Model, ModelScorer

KIND, BITS, FOLDS = "classifier/1", 20, 5
COLUMN = "classifier"
_TEXTS = 1024  # hashed at once


@dataclass(frozen=True, slots=True)
class Fitted:
    """A classifier, and how well it told texts apart that it was not fitted to.

    Attributes:
        model: to score with.
        auc: of texts in folds that were left out; 0.5 is chance.
    """

    model: Model
    auc: float


@dataclass(frozen=True, slots=True)
class ClassifierScorer(ModelScorer):
    """The probability of being good, higher is better, as a column."""

    kind: ClassVar[str] = KIND

    def score(self, batch: pa.RecordBatch) -> FloatArray:
        """Return probabilities, `(n, 1)`."""
        return probabilities(self.model, texts_of(batch, self.text_column).to_pylist())[:, None]


def fit(labelled: Iterable[tuple[str, bool]], seed: int = 0, bits: int = BITS) -> Fitted:
    """Fit a classifier to texts that are good or bad.

    Args:
        labelled: texts, and whether each is good; at least `FOLDS` of either.
        seed: of the folds.
        bits: of a feature's number.

    Raises:
        InvalidInputError: there are too few texts of a class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    features, good = _features_and_labels(labelled, bits)
    regression = LogisticRegression(class_weight="balanced", solver="liblinear", random_state=0)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with threadpool_limits(limits=1):  # sums of several threads have other last digits
        left_out = cross_val_predict(
            regression, features, good, cv=folds, method="decision_function"
        )
        regression.fit(features, good)
    arrays = {"weights": regression.coef_[0], "intercept": regression.intercept_}
    settings = {"bits": bits, "good": int(good.sum()), "bad": int((~good).sum())}
    return Fitted(Model(KIND, settings, arrays), float(roc_auc_score(good, left_out)))


def probabilities(model: Model, texts: list[str]) -> FloatArray:
    """Return the probability that each of n texts is good, `(n,)`."""
    if not texts:
        return np.empty(0)
    found = _hasher(model.settings["bits"]).transform(texts) @ model.arrays["weights"]
    return np.asarray(1.0 / (1.0 + np.exp(-(found + model.arrays["intercept"][0]))))


def _features_and_labels(labelled: Iterable[tuple[str, bool]], bits: int) -> tuple[Any, BoolArray]:
    """Return a sparse matrix with a row a text, and whether each is good."""
    from scipy.sparse import vstack

    hasher, rows, labels = _hasher(bits), [], list[bool]()
    for some in _some(labelled):
        rows.append(hasher.transform([text for text, _ in some]))
        labels += [is_good for _, is_good in some]
    good = np.array(labels, dtype=np.bool_)
    if min(good.sum(), (~good).sum()) < FOLDS:
        raise InvalidInputError(
            f"there are {good.sum()} good texts and {(~good).sum()} bad ones; at least {FOLDS} of "
            "either are needed",
            "good",
        )
    return vstack(rows).tocsr(), good


@lru_cache(maxsize=2)
def _hasher(bits: int) -> Any:  # noqa: ANN401  - of scikit-learn, which has no types
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(n_features=2**bits, ngram_range=(1, 2), alternate_sign=False)


def _some(labelled: Iterable[tuple[str, bool]]) -> Iterator[list[tuple[str, bool]]]:
    rest = iter(labelled)
    while chunk := list(islice(rest, _TEXTS)):
        yield chunk
