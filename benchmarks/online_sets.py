"""Five sets of domains for tiny language models: Markov chains, and Python's own text.

All speak 128 tokens: characters of text, with one token for what is not ASCII; chains have some of
them for their symbols. Rows are windows of a context and one token more, that do not overlap.
"""

import functools
from dataclasses import dataclass

import numpy as np

from mixwright.corpus.python_text import read_domains

VOCABULARY, CONTEXT = 128, 32
CHAIN_TOKENS, HELD_OUT_ROWS = 330_000, 512
SMALL_TOKENS = 40_000  # of a domain that is scarce
SPARSE = 0.15  # of the Dirichlet distribution of transitions


@dataclass(frozen=True)
class DomainSet:
    """Domains with rows to train on, to measure and to test; all rows (n, CONTEXT + 1), uint8.

    The goal is the mean loss over its parts: the domains themselves, or text not trained on.
    """

    names: tuple[str, ...]
    train: tuple[np.ndarray, ...]
    probe: tuple[np.ndarray, ...]
    test: tuple[np.ndarray, ...]
    goal_probe: tuple[np.ndarray, ...]
    goal_test: tuple[np.ndarray, ...]

    @property
    def has_target(self):
        """Whether the goal is other text than that of the domains."""
        return self.goal_probe is not self.probe

    @property
    def even(self):
        return np.full(len(self.names), 1.0 / len(self.names))

    @property
    def natural(self):
        """In proportion to rows."""
        sizes = np.array([len(rows) for rows in self.train], dtype=np.float64)
        return sizes / sizes.sum()


def rows_of(tokens):
    width = CONTEXT + 1
    return tokens[: len(tokens) // width * width].reshape(-1, width)


def made(parts, goal=None):
    """A set of domains, each (train, probe, test); the goal is one more, or they themselves."""
    train, probe, test = (tuple(part) for part in zip(*parts.values(), strict=True))
    if goal is None:
        return DomainSet(tuple(parts), train, probe, test, probe, test)
    return DomainSet(tuple(parts), train, probe, test, (goal[1],), (goal[2],))


def transitions(rng, symbols, order):
    """Probabilities of the next symbol, (symbols,) * order + (symbols,)."""
    return rng.dirichlet(np.full(symbols, SPARSE), (symbols,) * order)


def chain(rng, law, first_token, tokens=CHAIN_TOKENS):
    """Train, probe and test rows of a Markov chain whose symbols are tokens from `first_token`."""
    symbols, order = law.shape[-1], law.ndim - 1
    bounds = law.cumsum(-1)
    held_out = 2 * HELD_OUT_ROWS * (CONTEXT + 1)
    many = 64  # chains side by side, one after the other in the text
    length = -(-(tokens + held_out) // many)
    found = np.empty((length, many), dtype=np.uint8)
    past = [rng.integers(symbols, size=many) for _ in range(order)]
    for t in range(length):
        drawn = (rng.random(many)[:, None] > bounds[tuple(past)][:, :-1]).sum(1)
        found[t], past = drawn, [*past[1:], drawn]
    rows = rows_of(found.T.ravel() + np.uint8(first_token))
    rows = rows[rng.permutation(len(rows))]
    return rows[2 * HELD_OUT_ROWS :], rows[:HELD_OUT_ROWS], rows[HELD_OUT_ROWS : 2 * HELD_OUT_ROWS]


@functools.cache
def python():
    """Train, probe and test rows of each domain of the Python corpus; documents are kept whole."""
    rng, found = np.random.default_rng(7), {}
    for name, texts in read_domains().items():
        texts = [texts[i] for i in rng.permutation(len(texts))]
        total = sum(map(len, texts))
        held_out, documents = ([], []), iter(texts)
        for part in held_out:
            while sum(map(len, part)) < 0.08 * total:
                part.append(next(documents))
        train, probe, test = (characters(part) for part in (documents, *held_out))
        found[name] = (
            train,
            *(rows[rng.permutation(len(rows))[:HELD_OUT_ROWS]] for rows in (probe, test)),
        )
    return found


def characters(texts):
    """Rows of text: ASCII, and the last token for any other character."""
    codes = np.array([ord(c) for c in "\n\n".join(texts)])
    return rows_of(np.minimum(codes, VOCABULARY - 1).astype(np.uint8))


def sharing():
    """Order-2 chains over the same symbols that share all, half and none of their transitions."""
    rng = np.random.default_rng(1)
    base, other = transitions(rng, 10, 2), transitions(rng, 10, 2)
    half = np.where((rng.permutation(100) < 50).reshape(10, 10, 1), base, other)
    laws = {"base": base, "same": base, "half": half, "none": transitions(rng, 10, 2)}
    tokens = dict(zip(laws, (1.0, 0.5, 0.75, 0.3), strict=True))
    return made(
        {name: chain(rng, law, 0, int(tokens[name] * CHAIN_TOKENS)) for name, law in laws.items()}
    )


def difficulty():
    """Noise that cannot be learned, a chain that soon is, and one that takes long."""
    rng = np.random.default_rng(2)
    return made(
        {
            "noise": chain(rng, np.full((32, 32), 1 / 32), 64, 2 * CHAIN_TOKENS),
            "easy": chain(rng, transitions(rng, 10, 1), 0, int(1.5 * CHAIN_TOKENS)),
            "hard": chain(rng, transitions(rng, 12, 2), 10),
        }
    )


def text():
    """Code, docstrings and documentation of Python."""
    parts = python()
    return made({name: parts[name] for name in ("code", "docstrings", "documentation")})


def many():
    """Seven domains: all of Python's, some of the documentation only, and docstrings twice."""
    parts = dict(python())
    train, probe, test = parts["documentation"]
    parts["documentation"] = (train[: SMALL_TOKENS // CONTEXT], probe, test)
    return made({**parts, "docstrings again": parts["docstrings"]})


def target():
    """Four domains of Python and a chain, and a goal that is none of them: its documentation."""
    parts, rng = python(), np.random.default_rng(5)
    names = ("code", "docstrings", "comments", "c_headers")
    chosen = {name: parts[name] for name in names}
    return made(
        {**chosen, "chain": chain(rng, transitions(rng, 10, 2), 64)}, parts["documentation"]
    )


SETS = {
    "sharing": sharing,
    "difficulty": difficulty,
    "text": text,
    "many": many,
    "target": target,
}


@functools.cache
def domain_set(name):
    return SETS[name]()
