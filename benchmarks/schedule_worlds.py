"""Two corpora of scored documents to train under schedules on: Python's text, and noisy chains.

Their documents have perplexities by two proxies of other sizes that saw the same tokens, and a
quality: in Python's text how much likelier a document is to a proxy of the goal's own domains than
to one of all (Moore and Lewis, ACL 2010), in chains the share of symbols that noise has left alone.
"""

import functools
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from benchmarks.online_sets import transitions
from mixwright.corpus.build import build_store
from mixwright.corpus.documents import Document
from mixwright.corpus.python_text import read_domains
from mixwright.corpus.store import TokenStore, open_store
from mixwright.schedules import Documents
from workers.checkpoint import Checkpoints
from workers.keeping import open_kept
from workers.order import GroupOrder
from workers.perplexity import perplexities
from workers.train import train_group

FOLDER = Path(__file__).parents[1] / "var" / "benchmarks" / "schedules"
SCORES = ("perplexity_strong", "perplexity_weak", "quality")
MODEL = {
    "layers": 1, "width": 32, "heads": 2, "feed_forward": 48, "context": 32, "tied": False,
}  # fmt: skip
STRONG = {**MODEL, "width": 64, "heads": 4, "feed_forward": 96}
WEAK = {**MODEL, "width": 16, "feed_forward": 24}
BATCH = 16  # sequences
REFERENCE_TOKENS, PIECE = 400_000, 2_000
CHAIN_SYMBOLS, CHAIN_DOCUMENTS, CHAIN_LENGTH = 6, {"clean": 300, "noisy": 1_200}, 1_000


@dataclass(frozen=True)
class World:
    """A scored store, and which of its domains are the goal, and good data.

    Attributes:
        name: of the world.
        good: domains whose held-out text is the goal, of which there is too little.
        store: the tokens.
    """

    name: str
    good: tuple[str, ...]
    store: TokenStore

    @property
    def domains(self):
        return self.store.domains

    @property
    def natural(self):
        """Shares of tokens by domain."""
        shares = self.store.train_tokens / self.store.train_tokens.sum()
        return dict(zip(self.domains, shares.tolist(), strict=True))

    @property
    def good_weights(self):
        return {name: 1 / len(self.good) for name in self.good}

    @cached_property
    def documents(self):
        """The documents, as planners take them."""
        shards = [self.store.scored(d, SCORES) for d in range(len(self.domains))]
        scores = np.concatenate([shard.scores for shard in shards])
        return Documents(
            self.domains,
            np.repeat(np.arange(len(shards)), [len(shard.tokens) for shard in shards]),
            np.concatenate([shard.tokens for shard in shards]).astype(np.float64),
            dict(zip(SCORES, scores.T, strict=True)),
        )


@functools.cache
def world(name):
    """The world of this name; made once, with the proxies that score it."""
    folder, good = FOLDER / name, GOOD[name]
    if not (folder / "scored").exists():
        texts, held_out, quality = MADE[name]()
        shutil.rmtree(folder, ignore_errors=True)
        plain = build_store(_sources(texts), folder / "plain", validation=_sources(held_out))
        build_store(
            _sources(_scored(texts, plain, good, quality, folder)),
            folder / "scored",
            raters=SCORES,
            validation=_sources(held_out),
        )
    return World(name, good, open_store(str(folder / "scored")))


def _sources(texts):
    return {name: (lambda some=some: some) for name, some in texts.items()}


def _scored(texts, plain, good, quality, folder):
    """Texts as documents with perplexities and a quality."""
    sizes = dict(zip(plain.domains, (plain.train_tokens / plain.train_tokens.sum()), strict=True))
    of_goal = {name: (name in good) / len(good) for name in texts}
    strong = reference(plain, folder / "strong", STRONG, sizes)
    weak = reference(plain, folder / "weak", WEAK, sizes)
    goal = None if quality else reference(plain, folder / "goal", STRONG, of_goal)
    found = {}
    for name, some in texts.items():
        told = [perplexities(model, some) for model in (strong, weak)]
        told.append(
            np.array(quality[name]) if quality else np.log(told[0] / perplexities(goal, some))
        )
        rows = zip(some, np.stack(told, 1).tolist(), strict=True)
        found[name] = [
            Document(text, f"{name}-{i}", tuple(row)) for i, (text, row) in enumerate(rows)
        ]
    return found


def reference(store, folder, model, weights):
    """A proxy of a shape, trained on a mixture."""
    run = {"id": "reference", "weights": {n: float(w) for n, w in weights.items()}, "seed": 9}
    rate = {"learning_rate": 0.01, "schedule": "linear", "warmup": 0.05}
    order = order_of(
        store, [{**run, "stream": 0, "learning_rate": None}], model, REFERENCE_TOKENS, rate, True
    )
    train(order, store, folder)
    return open_kept(folder / "reference.safetensors")


def order_of(store, runs, model, tokens, rate=None, keep=False):
    """What a worker would be told to train."""
    optimizer = {"learning_rate": 0.01, "schedule": "constant", "warmup": 0.0, "decay": 0.0}
    return GroupOrder.from_json(
        {
            "group": "group",
            "corpus": {"uri": str(store.folder), "digest": store.digest},
            "domains": list(store.domains),
            "runs": runs,
            "model": model,
            "optimizer": {
                **optimizer, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95, "clip": 1.0,
                "batch_sequences": BATCH, **(rate or {}),
            },
            "tokens": tokens,
            "sampling": {"mode": "replacement", "max_epochs": None, "pool_tokens": None},
            "evaluation": {"at": [1.0], "windows": 384},
            "width": len(runs),
            "compile": False,
            "keep": keep,
        }
    )  # fmt: skip


def train(order, store, folder):
    """What a worker would report, without a server."""
    torch.set_num_threads(1)
    place = folder / f"checkpoints-{os.getpid()}"
    found = train_group(
        order,
        store,
        torch.device("cpu"),
        checkpoints=Checkpoints(str(place), order, 1e9),
        on_step=lambda share: None,
        on_evaluation=lambda points: None,
        should_stop=lambda: False,
        models=str(folder),
    )
    shutil.rmtree(place, ignore_errors=True)
    return found


def python():
    """Pieces of Python's text; every twelfth document is held out. The goal is prose."""
    texts, held_out = {}, {}
    for name, documents in read_domains().items():
        parts = [[], []]
        for number, document in enumerate(documents):
            pieces = [document[i : i + PIECE] for i in range(0, len(document), PIECE)]
            parts[number % 12 == 5] += [piece for piece in pieces if len(piece) >= 100]
        texts[name], held_out[name] = parts
    return texts, held_out, None


def chains():
    """Chains of order 2 over six letters, some of them replaced at random; the goal is clean."""
    rng = np.random.default_rng(17)
    bounds = transitions(rng, CHAIN_SYMBOLS, 2).cumsum(-1)
    texts, quality, held_out = {}, {}, {}
    for name, count in CHAIN_DOCUMENTS.items():
        noise = rng.uniform(0.0, 0.02, count) if name == "clean" else rng.uniform(0.1, 0.9, count)
        texts[name], quality[name] = _chain(rng, bounds, noise), (1 - noise).tolist()
        clean = 0.0 if name == "clean" else 0.5
        held_out[name] = _chain(rng, bounds, np.full(60, clean))
    return texts, held_out, quality


def _chain(rng, bounds, noise):
    many = len(noise)
    past, found = rng.integers(CHAIN_SYMBOLS, size=(2, many)), []
    for _ in range(CHAIN_LENGTH):
        drawn = (rng.random(many)[:, None] > bounds[past[0], past[1]][:, :-1]).sum(1)
        past = np.stack([past[1], drawn])
        random = rng.integers(CHAIN_SYMBOLS, size=many)
        found.append(np.where(rng.random(many) < noise, random, drawn))
    letters = (np.array(found).T + ord("a")).astype(np.uint8)
    return [bytes(row).decode() for row in letters]


MADE = {"python": python, "chains": chains}
GOOD = {"python": ("documentation", "docstrings"), "chains": ("clean",)}
