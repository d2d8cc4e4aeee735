"""A tiny scored token store, and an order for a group that trains on what θ chooses of it."""

import numpy as np
from small_group import NAMES, make_order, make_texts

from mixwright.corpus.build import build_store
from mixwright.corpus.documents import Document
from mixwright.corpus.selection import DocumentPool
from mixwright.spaces import space_from
from mixwright.study import Domain

RATERS = ("edu", "noise")  # the second: lower is better
SPACE = {"kind": "quadmix", "raters": list(RATERS), "lower_is_better": ["noise"]}
META_RATER = {**SPACE, "kind": "meta_rater"}


def make_documents(seed=0, documents=60):
    """The texts of `make_texts`, each with an id and two scores that agree by half."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, texts in make_texts(seed, documents).items():
        quality = rng.normal(size=len(texts))
        noise = 0.5 * rng.normal(size=len(texts)) - quality
        found[name] = [
            Document(text, f"{name}-{row}", (float(quality[row]), float(noise[row])))
            for row, text in enumerate(texts)
        ]
    return found


def make_scored_store(folder, domains=None):
    domains = domains or make_documents()
    clean = make_texts(seed=1, documents=20)
    return build_store(
        {name: (lambda some=some: some) for name, some in domains.items()},
        folder / "store",
        raters=RATERS,
        validation={name: (lambda name=name: clean[name]) for name in domains},
    )


def make_pool(store, space=SPACE):
    return DocumentPool(
        store, NAMES, space_from(space, [Domain(name, None, 0.0) for name in NAMES])
    )


def theta(omega=0.4, epsilon=0.05, **changes):
    """Parameters, the same for every domain unless one is changed: `low={"omega": 0.1}`."""
    same = {"lambda": 20.0, "omega": omega, "eta": 0.5, "epsilon": epsilon}
    return {
        name: {"rater_weights": {"edu": 0.7, "noise": 0.3}, **same, **changes.get(name, {})}
        for name in NAMES
    }


def run_of(index, parameters, seed=0):
    return {
        "id": f"run_{index}",
        "parameters": parameters,
        "seed": seed,
        "stream": 0,
        "learning_rate": None,
    }


def make_scored_order(store, parameters, **changes):
    """An order for a proxy on each of some parameters, otherwise that of `make_order`."""
    changes = {
        "runs": [run_of(index, one) for index, one in enumerate(parameters)],
        "space": SPACE,
        "width": len(parameters),
        **changes,
    }
    return make_order(store, **changes)
