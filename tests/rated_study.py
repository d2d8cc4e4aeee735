"""Studies whose documents are rated, and samples of their documents, as they are sent."""

import io
import json

import numpy as np

DOMAINS = ("web", "code")
RATERS = ("edu", "perplexity")
NDJSON, PARQUET = "application/x-ndjson", "application/vnd.apache.parquet"
QUADMIX = {"kind": "quadmix", "raters": list(RATERS), "lower_is_better": ["perplexity"]}
META_RATER = QUADMIX | {"kind": "meta_rater"}
THETA = {
    "web": {
        "rater_weights": {"edu": 0.5, "perplexity": 0.5},
        "lambda": 50.0,
        "omega": 0.1,
        "eta": 0.8,
        "epsilon": 0.001,
    },
    "code": {
        "rater_weights": {"edu": 1.0, "perplexity": 0.0},
        "lambda": 500.0,
        "omega": 0.05,
        "eta": 0.5,
        "epsilon": 0.0,
    },
}


def rated_study(space, domains=DOMAINS, tokens=(1e9, 2e8), name="rated"):
    """What is sent to create a study in a space."""
    return {
        "name": name,
        "domains": [
            {"name": name} | ({} if count is None else {"tokens": count})
            for name, count in zip(domains, tokens, strict=True)
        ],
        "metrics": [{"name": "loss"}],
        "fidelities": [{"name": "1m"}],
        "space": space,
    }


def documents(count, seed=0, domains=DOMAINS):
    """Rated documents: `edu` is better if higher, `perplexity` if lower, and they roughly agree."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=count)
    return [
        {
            "id": f"{seed}-{place}",
            "domain": domains[place % len(domains)],
            "tokens": int(rng.integers(20, 900)),
            "edu": float(quality[place] + 0.5 * rng.normal()),
            "perplexity": float(30 - 5 * quality[place] + rng.normal()),
        }
        for place in range(count)
    ]


def as_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_parquet(rows, **types):
    """Rows as a Parquet file; columns named in `types` are of that type."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = {name: pa.array([row.get(name) for row in rows], types.get(name)) for name in rows[0]}
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()
