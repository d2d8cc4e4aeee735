"""The OpenAPI document is true: no request gets a 500 or an answer that is not declared."""

import os
from collections import Counter

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from rated_study import NDJSON, QUADMIX, THETA, as_lines, documents
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from small_study import SMALL_RUN, SMALL_STUDY

from app.db.engine import make_engine, make_sessions

EXAMPLES = int(os.environ.get("MIXWRIGHT_FUZZ_EXAMPLES", "25"))
BUDGET = {
    "tokens": 1e9,
    "sequence_length": 1000,
    "batch_tokens": 1e6,
    "peak_learning_rate": 3e-4,
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@schemathesis.serializer("application/x-ndjson", "application/vnd.apache.parquet")
def scored_documents(_context, value):
    """Bodies that are not JSON are sent as they are made up."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture
def sessions(sqlite_url):
    sessions = make_sessions(make_engine(sqlite_url))
    yield sessions
    sessions.kw["bind"].dispose()


@pytest.fixture
def known(app, rated):
    """Identifiers that exist, so that requests get past 404."""
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
        client.post("/v1/studies", json=SMALL_STUDY)
        run = client.post("/v1/studies/small/runs", json=SMALL_RUN).json()["id"]
        fit = client.post("/v1/studies/small/fits", json={"surrogate": "linear"}).json()["id"]
        rec = client.post("/v1/studies/small/recommendations", json={"fit": fit}).json()["id"]
        body = {"name": "t", "study": "small", "algorithm": "static"}
        training = client.post("/v1/trainings", json=body).json()["id"]
        path, headers = f"/v1/studies/{rated(QUADMIX)}", {"Content-Type": NDJSON}
        client.post(f"{path}/samples", content=as_lines(documents(50)), headers=headers)
        made = client.post(f"{path}/sampling-functions", json={"parameters": THETA}).json()
        body = {"planner": "anneal", "budget": BUDGET}
        schedule = client.post("/v1/studies/small/schedules", json=body).json()["id"]
    return {
        "study": "small",
        "run": run,
        "fit": fit,
        "rec": rec,
        "training": training,
        "function": made["id"],
        "schedule": schedule,
    }


def from_this_machine(app):
    """Without tokens only requests from a loopback address are answered."""

    async def local(scope, receive, send):
        await app({**scope, "client": ("127.0.0.1", 1)}, receive, send)

    return local


@pytest.mark.slow
def test_every_answer_is_declared(app, known):
    schema = schemathesis.openapi.from_asgi("/openapi.json", from_this_machine(app))
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert len(operations) > 20
    statuses = Counter()
    for operation in operations:
        if operation.method.upper() != "DELETE":
            fuzz(operation, known, statuses)
    # The requests got somewhere: past authentication, and into both outcomes.
    assert statuses[403] == 0
    assert statuses[200] + statuses[201] + statuses[202] > len(operations)
    assert statuses[422] > len(operations)


def fuzz(operation, known, statuses):
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def answers_as_declared(case):
        for name in known.keys() & (case.path_parameters or {}).keys():
            case.path_parameters[name] = known[name]
        if "wait" in (case.query or {}):
            case.query["wait"] = 0
        response = case.call(base_url="http://127.0.0.1")
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    answers_as_declared()
