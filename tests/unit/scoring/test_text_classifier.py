import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from mixwright.errors import InvalidInputError
from mixwright.scoring import classifier

GOOD = ["theorem", "proof", "lemma", "because", "therefore", "measure"]
BAD = ["click", "buy", "cheap", "now", "free", "winner"]


def texts(words, count, seed, noise=0.0):
    rng = np.random.default_rng(seed)
    other = BAD if words is GOOD else GOOD
    return [
        " ".join(rng.choice(other if rng.random() < noise else words) for _ in range(12))
        for _ in range(count)
    ]


def labelled(count, noise=0.0, seed=0):
    good, bad = texts(GOOD, count, seed, noise), texts(BAD, count, seed + 1, noise)
    return [*((text, True) for text in good), *((text, False) for text in bad)]


def test_it_tells_apart_what_it_has_not_seen():
    fitted = classifier.fit(labelled(60, 0.2))
    assert fitted.auc > 0.95
    like, unlike = (classifier.probabilities(fitted.model, texts(w, 50, 9)) for w in (GOOD, BAD))
    assert like.min() > unlike.max()
    assert (fitted.model.settings["good"], fitted.model.settings["bad"]) == (60, 60)


def test_labels_without_meaning_are_told_by_chance():
    rng = np.random.default_rng(0)
    mixed = [(text, bool(rng.random() < 0.5)) for text, _ in labelled(200, 0.5)]
    assert 0.35 < classifier.fit(mixed).auc < 0.65


def test_equal_texts_make_equal_models_and_a_seed_changes_the_folds_only():
    one, two, other = (classifier.fit(labelled(30, 0.4), seed) for seed in (0, 0, 1))
    assert one.model.digest == two.model.digest == other.model.digest
    assert one.auc == two.auc


def test_the_number_of_threads_changes_no_digit():
    with threadpool_limits(limits=2):
        two = classifier.fit(labelled(200, 0.4), bits=17)
    with threadpool_limits(limits=1):
        one = classifier.fit(labelled(200, 0.4), bits=17)
    assert two.model.digest == one.model.digest


def test_a_class_that_is_rare_weighs_as_much():
    few = [*labelled(60)[:60], *((text, False) for text in texts(BAD, 6, 3))]
    found = classifier.probabilities(classifier.fit(few).model, texts(BAD, 20, 4))
    assert found.max() < 0.5


@pytest.mark.parametrize("some", [[], labelled(4), labelled(20)[:20]])
def test_too_few_texts_are_counted(some):
    with pytest.raises(InvalidInputError, match="at least 5 of either"):
        classifier.fit(some)


def test_no_texts_have_no_probabilities():
    assert classifier.probabilities(classifier.fit(labelled(5)).model, []).shape == (0,)
