"""A million documents in parts: what the server holds at a time is a part, not the sample."""

import pytest
from own_process import told_by
from rated_study import QUADMIX

MEGABYTE = 2**20
DOCUMENTS, PART = 1_000_000, 50_000
LOAD = """
    import io, json, resource, sys
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet
    from fastapi.testclient import TestClient
    from rated_study import PARQUET, THETA
    from app.db.engine import make_engine, make_sessions
    from app.main import create_app
    from app.samples import stored

    url, documents, part = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    stored._TOGETHER = part  # instead of half a million, so that a million are many
    sessions = make_sessions(make_engine(url))
    app = create_app(sessions, print, broker_is_ready=lambda: True, max_body_bytes=2**24)
    client = TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1))

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def send(seed, count):
        rng = np.random.default_rng(seed)
        quality = rng.normal(size=count)
        columns = {
            "domain": np.array(["web", "code"])[rng.integers(2, size=count)],
            "tokens": rng.integers(20, 900, count),
            "edu": (quality + 0.5 * rng.normal(size=count)).astype(np.float32),
            "perplexity": (30 - 5 * quality + rng.normal(size=count)).astype(np.float32),
        }
        file = io.BytesIO()
        parquet.write_table(pa.table(columns), file)
        headers = {"Content-Type": PARQUET}
        answer = client.post("/v1/studies/rated/samples", content=file.getvalue(), headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()["stored_bytes"]

    send(10**6, part)
    client.get("/v1/studies/rated/samples")
    client.post("/v1/studies/rated/sampling-functions", json={"parameters": THETA})
    before = peak()
    kept = sum(send(seed, part) for seed in range(documents // part))
    uploaded = peak()
    sample = client.get("/v1/studies/rated/samples").json()
    made = client.post("/v1/studies/rated/sampling-functions", json={"parameters": THETA})
    assert made.status_code == 201, made.text
    print(json.dumps({"uploading": uploaded - before, "making": peak() - before, "stored": kept,
                      "documents": sample["documents"], "warnings": sample["warnings"]}))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_sample(rated, database_url):
    rated(QUADMIX)
    found = told_by(LOAD, database_url, DOCUMENTS, PART)
    assert found["documents"] == DOCUMENTS + PART
    assert found["warnings"] == []
    assert found["stored"] < 12 * DOCUMENTS  # bytes a document: two raters, domain and tokens
    assert found["uploading"] < 40 * MEGABYTE
    assert found["making"] < 60 * MEGABYTE
