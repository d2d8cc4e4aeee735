"""A tiny token store and an order for a group that trains on it."""

import numpy as np

from mixwright.corpus.build import build_store
from workers.order import GroupOrder

NAMES = ("low", "high")


def make_texts(seed=0, documents=40, length=400):
    """Two domains of made-up bytes: each a noisy cycle over letters of its own."""
    rng = np.random.default_rng(seed)
    letters = {"low": b"abcdefgh", "high": b"stuvwxyz"}
    return {
        name: [
            bytes(
                alphabet[(i + step) % 8]
                for i, step in enumerate(rng.integers(0, 2, length + int(rng.integers(9))))
            ).decode()
            for _ in range(documents)
        ]
        for name, alphabet in letters.items()
    }


def make_store(folder):
    texts = make_texts()
    return build_store(
        {name: (lambda some=some: some) for name, some in texts.items()},
        folder / "store",
        validation_share=0.3,
    )


def make_order(store, count=4, **changes):
    """An order for `count` proxies of 8 sequences of 16 tokens a step, 12 steps."""
    shares = np.linspace(0.1, 0.9, count)
    order = {
        "group": "group_1",
        "corpus": {"uri": str(store.folder), "digest": store.digest},
        "domains": list(NAMES),
        "runs": [
            {
                "id": f"run_{index}",
                "weights": {"low": float(share), "high": float(1 - share)},
                "seed": 0,
                "stream": 0,
                "learning_rate": None,
            }
            for index, share in enumerate(shares)
        ],
        "model": {
            "layers": 1, "width": 16, "heads": 2, "feed_forward": 24, "context": 16, "tied": False,
        },
        "optimizer": {
            "learning_rate": 0.01, "schedule": "linear", "warmup": 0.1, "decay": 0.2,
            "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95, "clip": 1.0, "batch_sequences": 8,
        },
        "tokens": 12 * 8 * 16,
        "sampling": {"mode": "replacement", "max_epochs": None, "pool_tokens": None},
        "evaluation": {"at": [0.5, 1.0], "windows": 8},
        "width": count,
        "compile": False,
    }  # fmt: skip
    return GroupOrder.from_json({**order, **changes})
