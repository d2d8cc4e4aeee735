"""Perplexity under interpolated modified Kneser-Ney smoothing."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.scoring import ngram
from mixwright.scoring.models import Model

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "bird",
    "sat",
    "ran",
    "saw",
    "on",
    "under",
    "mat",
    "tree",
    "and",
    "then",
    "slept",
]
BEGIN, END = "<begin>", "<end>"


def sentences(count, seed, words=WORDS):
    rng = np.random.default_rng(seed)
    odds = 1.0 / np.arange(1, len(words) + 1)
    drawn = (rng.choice(words, rng.integers(1, 9), p=odds / odds.sum()) for _ in range(count))
    return [" ".join(words) for words in drawn]


class ByHand:
    """The same model with dictionaries, from the formula."""

    def __init__(self, texts, order):
        self.order, self.counts = order, [Counter() for _ in range(order + 1)]
        for words in map(self.padded, texts):
            for end in range(order - 1, len(words)):
                self.counts[order][tuple(words[end - order + 1 : end + 1])] += 1
        for k in range(order - 1, 0, -1):
            self.counts[k] = Counter(gram[1:] for gram in self.counts[k + 1])
        self.followers = defaultdict(list)
        for counts in self.counts:
            for gram, count in counts.items():
                self.followers[gram[:-1]].append(count)
        self.discounts = [self.discount(Counter(counts.values())) for counts in self.counts]

    def padded(self, text):
        return [BEGIN] * (self.order - 1) + text.split() + [END]

    def discount(self, n):
        if min(n[1], n[2], n[3], n[4]) == 0:
            return [0, 0.5, 1, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        found = [0, *(c - (c + 1) * y * n[c + 1] / n[c] for c in (1, 2, 3))]
        return found if min(found[1:]) > 0 else [0, 0.5, 1, 1.5]

    def chance(self, context, word):
        k = len(context) + 1
        below = self.chance(context[1:], word) if k > 1 else 1 / (len(self.counts[1]) + 1)
        counts, owed = self.followers[context], self.discounts[k]
        if not counts:
            return below
        count = self.counts[k][(*context, word)]
        taken = sum(owed[min(c, 3)] for c in counts)
        return (max(count - owed[min(count, 3)], 0) + taken * below) / sum(counts)

    def perplexity(self, text):
        words, n = self.padded(text), self.order
        logs = [
            math.log(self.chance(tuple(words[end - n + 1 : end]), words[end]))
            for end in range(n - 1, len(words))
        ]
        return math.exp(-sum(logs) / len(logs))


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 20, 400])
def test_it_is_the_model_of_dictionaries(order, count):
    texts = sentences(count, 2)  # none of whose n-grams collide
    others = [*sentences(10, 3), "", "cat unknown cat", texts[0]]
    hand = ByHand(texts, order)
    found = ngram.perplexities(ngram.fit(texts, order, 22), others)
    np.testing.assert_allclose(found, [hand.perplexity(text) for text in others], rtol=1e-9)


def test_the_chances_of_all_words_sum_to_one():
    model = ngram.fit(sentences(300, 0), 3, 22)
    one_word = model.settings["vocabulary"]  # with the end, and one for all unknown words
    for start in ("the cat", "zebra", "dog the"):
        alone = ngram.perplexities(model, [start])[0] ** -(len(start.split()) + 1)
        total = 0.0
        for word in [*WORDS, "unheard"]:
            with_word = ngram.perplexities(model, [f"{start} {word}"])[0]
            ends = _end_after(model, f"{start} {word}")
            total += with_word ** -(len(start.split()) + 2) / ends
        begun = alone / _end_after(model, start)
        assert total / begun + _end_after(model, start) == pytest.approx(1, rel=1e-9)
    assert one_word == len(WORDS) + 1


def _end_after(model, text):
    """P(end | the last two words), by the model of dictionaries."""
    hand = ByHand(sentences(300, 0), 3)
    words = hand.padded(text)[:-1]
    return hand.chance(tuple(words[-2:]), END)


def test_text_like_the_good_one_is_less_perplexing():
    model = ngram.fit(sentences(2000, 0))
    like, unlike = sentences(50, 1), sentences(50, 1, WORDS[::-1])
    assert ngram.perplexities(model, like).mean() < 0.6 * ngram.perplexities(model, unlike).mean()


def test_batches_and_order_change_no_bit():
    model, texts = ngram.fit(sentences(500, 0)), sentences(600, 2)
    whole = ngram.perplexities(model, texts)
    one_by_one = [ngram.perplexities(model, [text])[0] for text in texts[::-1]]
    np.testing.assert_array_equal(whole[::-1], one_by_one)


def test_few_places_bound_memory_and_say_that_they_are_full():
    texts = [
        " ".join(f"w{n}" for n in row)
        for row in np.random.default_rng(0).integers(9999, size=(40, 50))
    ]
    tight, wide = ngram.fit(texts, 3, 8), ngram.fit(texts, 3, 20)
    assert ngram.fill(tight) > 0.9 > 0.1 > ngram.fill(wide)
    assert all(array.size <= 256 for array in tight.arrays.values())
    assert np.isfinite(ngram.perplexities(tight, texts)).all()


def test_a_file_keeps_the_model(tmp_path):
    model = ngram.fit(sentences(100, 0), 2, 10)
    model.save(tmp_path / "m.npz")
    again = Model.load(tmp_path / "m.npz", ngram.KIND)
    assert again.digest == model.digest
    texts = sentences(20, 5)
    np.testing.assert_array_equal(
        ngram.perplexities(again, texts), ngram.perplexities(model, texts)
    )
    with pytest.raises(InvalidInputError, match="model of ngram/1, not classifier/1"):
        Model.load(tmp_path / "m.npz", "classifier/1")
    (tmp_path / "m.npz").write_bytes((tmp_path / "m.npz").read_bytes()[:500])
    with pytest.raises(InvalidInputError, match="cannot be read as a model"):
        Model.load(tmp_path / "m.npz", ngram.KIND)


@pytest.mark.parametrize(
    ("texts", "order", "bits", "says"),
    [
        ([], 3, 10, "no words"),
        (["", " "], 3, 10, "no words"),
        (["a"], 1, 10, "an order"),
        (["a"], 3, 40, "bits"),
    ],
)
def test_what_cannot_be_fitted_is_refused(texts, order, bits, says):
    with pytest.raises(InvalidInputError, match=says):
        ngram.fit(texts, order, bits)
