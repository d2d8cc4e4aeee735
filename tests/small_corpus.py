"""A corpus and a swarm of the small study, as they are sent."""

SMALL_CORPUS = {
    "name": "texts",
    "uri": "/nowhere/texts",
    "tokenizer": "bytes",
    "vocabulary": 257,
    "digest": "0" * 64,
    "domains": [
        {
            "name": name,
            "train_tokens": tokens,
            "validation_tokens": 1000,
            "train_bytes": tokens,
            "validation_bytes": 1000,
            "documents": 10,
            "sha256": {"train": "1" * 64, "validation": "2" * 64},
        }
        for name, tokens in (("web", 60_000), ("code", 30_000), ("math", 10_000))
    ],
}
SMALL_SWARM = {
    "count": 5,
    "fidelity": "1m",
    "design": {"kind": "dirichlet", "seed": 3},
    "trainer": {
        "corpus": "texts",
        "model": {"preset": "65k"},
        "optimizer": {"learning_rate": 0.01, "batch_sequences": 8},
        "tokens": 4096,
        "width": 2,
    },
}
