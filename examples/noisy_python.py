"""Text that comes with Python, with noise planted in it, and two raters that know of the noise.

Three domains of clean pages among noise (shuffled words, a third of the letters replaced, random
characters), and `dumps`: a hundred pages of tables, again and again with other digits. A page's
scores are 1 if it is clean and 0 if it is noise, each with an error of its own; of `dumps` they
know nothing. What validates is clean. Used by `quadmix.py`.
"""

import random
import string

import numpy as np

from mixwright.corpus.build import build_store
from mixwright.corpus.documents import Document
from mixwright.corpus.python_text import read_domains

RATERS = {"grade": 0.6, "hint": 1.5}  # standard deviation of the error
NOISE = {"code": 0.5, "docstrings": 0.5, "documentation": 0.3}  # share of the pages
DUMPS, PAGE = "dumps", 2000
KINDS = {  # of noise: how many of which characters are replaced
    "letters": (0.3, string.printable),
    "all": (1.0, string.printable),
    "digits": (0.3, string.hexdigits),
}


def build(folder, bytes_per_domain, seed):
    """Return the store of up to so many bytes of clean text per domain, built in `folder`."""
    draw, text, clean, training = random.Random(seed), read_domains(), {}, {}
    count = bytes_per_domain // PAGE
    for name, noise in NOISE.items():
        found = pages(text[name], draw)[:count]
        clean[name], kept = found[: len(found) // 10], found[len(found) // 10 :]
        wanted = round(len(kept) * noise / (1 - noise))
        bad = [f"{corrupt(draw.choice(kept), draw)} {row}" for row in range(wanted)]
        rows = [(page, True, True) for page in kept] + [(page, False, False) for page in bad]
        training[name] = rated(rows, name, draw)
    tables = pages(text["character_tables"], draw)
    clean[DUMPS], copied = tables[:20], tables[20:120]
    again = [corrupt(draw.choice(copied), draw, "digits") for _ in range(count * 5 // 3)]
    training[DUMPS] = rated([(page, draw.random() < 0.5, False) for page in again], DUMPS, draw)
    readers, held_out = (
        {name: (lambda some=some: some) for name, some in texts.items()}
        for texts in (training, clean)
    )
    return build_store(readers, folder, raters=list(RATERS), validation=held_out)


def pages(texts, draw):
    found = [text[at : at + PAGE] for text in texts for at in range(0, len(text), PAGE)]
    return draw.sample(found, len(found))


def corrupt(text, draw, kind=None):
    kind = kind or draw.choice(("words", "letters", "all"))
    if kind == "words":
        words = text.split(" ")
        return " ".join(draw.sample(words, len(words)))
    share, alphabet = KINDS[kind]
    return "".join(
        draw.choice(alphabet) if c in alphabet and draw.random() < share else c for c in text
    )


def rated(rows, domain, draw):
    """Return documents of pages, of whether raters take them for clean, and of whether they are."""
    return [
        Document(
            page,
            f"{domain}-{'clean' if is_clean else 'noise'}-{row}",
            tuple(seems_clean + error * draw.gauss(0, 1) for error in RATERS.values()),
        )
        for row, (page, seems_clean, is_clean) in enumerate(rows)
    ]


def noise_in(pool, selections):
    """Return which share of the selected tokens is noise."""
    is_noise = [np.array(["-noise-" in name for name in shard.ids]) for shard in pool.shards]
    tokens = [shard.tokens * noise for shard, noise in zip(pool.shards, is_noise, strict=True)]
    bad = [of @ copies for one in selections for of, copies in zip(tokens, one.copies, strict=True)]
    return sum(bad) / sum(one.tokens.sum() for one in selections)
