"""The client follows Aioli's plan on a server with the real core: a world with a known law."""

import json

import numpy as np
import pytest

from mixwright.reweighting.aioli import Aioli, normalised
from mixwright.reweighting.exponentiated import exponentiated_gradient
from mixwright_client import Pace, Settings, Training
from mixwright_client.transport import Answer

DOMAINS = ["code", "math", "web"]
LAW = np.array([[0.012, 0.002, 0.0], [0.001, 0.008, 0.003], [-0.002, 0.0, 0.01]])  # a step's
OPTIONS = {"sweeps": 2, "probe_steps": 3, "round_steps": 30, "step_size": 1.0, "floor": 0.0}
LEAD = 4
BODY = {"name": "7b-main", "domains": DOMAINS, "algorithm": "aioli", "options": OPTIONS}


class InProcess:
    """A way to an application without a network."""

    def __init__(self, client):
        self.client, self.is_away = client, False

    def send(self, request):
        if self.is_away:
            return Answer(503, None, again=True)
        names = {"Idempotency-Key": request.key, "If-None-Match": request.etag}
        headers = {name: value for name, value in names.items() if value}
        found = self.client.request(
            request.method, request.path, json=request.body, headers=headers
        )
        body = found.json() if found.content else None
        again = "retry-after" in found.headers
        return Answer(found.status_code, body, found.headers.get("etag", ""), again)

    def close(self):
        pass


class World:
    """A trainer whose losses fall by the law, and its checkpoint."""

    def __init__(self, way, folder, saved=None, **more):
        settings = Settings(
            sync_every=2, prefetch_steps=2, folder=folder, pace=Pace(0.01, 0.01), patience=60
        )
        state = saved or {"losses": [4.0] * len(DOMAINS)}
        self.losses = np.array(state["losses"])
        if saved:
            self.training = Training.from_state(way, saved["training"], settings)
        else:
            self.training = Training.register(way, {**BODY, **more}, settings)
        self.training.probe_with(lambda: dict(zip(DOMAINS, self.losses, strict=True)))

    def train(self, start, stop):
        for step in range(start, stop):
            weights = self.training.weights(step)
            self.losses = self.losses - LAW @ [weights[name] for name in DOMAINS]
            self.training.step_end(step)

    def saved(self):
        state = {"losses": self.losses.tolist(), "training": self.training.state_dict()}
        return json.loads(json.dumps(state))


@pytest.fixture
def way(client):
    return InProcess(client)


@pytest.fixture
def published(client):
    def read(world):
        found = client.get(f"/v1/trainings/{world.training.id}/ledger").json()["items"]
        return [
            (one["effective_step"], one["applied_step"], one["weights"])
            for one in found
            if one["state"] == "published"
        ]

    return read


def test_the_law_is_found_and_the_weights_follow_it(way, published, tmp_path):
    world = World(way, tmp_path)
    world.train(0, 80)
    assert world.training.finish(20)
    ledger = published(world)
    weights, effects = np.full(3, 1 / 3), normalised(LAW).sum(axis=0)
    # The first round begins at the first step that is not planned, LEAD; each takes 18 steps of
    # probes, LEAD until its weights hold, and 12 with them.
    for turn, (effective, applied, found) in enumerate(ledger[1:]):
        weights = exponentiated_gradient(weights, effects, 0.0)
        np.testing.assert_allclose(list(found.values()), weights, atol=1e-9)
        assert effective == applied == LEAD + 18 - 1 + LEAD + turn * (18 + LEAD - 1 + 12)
    assert len(ledger) == 3


def test_a_round_that_is_interrupted_goes_on_and_the_server_forks(way, published, tmp_path):
    calm = World(way, tmp_path / "calm")
    calm.train(0, 80)
    assert calm.training.finish(20)
    world = World(way, tmp_path / "hit")
    at = 0
    for stop in (10, 22, 26, 44, 60):  # in a round, at its end, after it, in the next
        world.train(at, stop)
        saved, at = world.saved(), stop
        world.train(stop, stop + 23)  # lost with the process, and known to the server
        world.training._courier.finish(20)
        way.is_away = True
        world = World(way, tmp_path / "hit", saved)
        way.is_away = False
    world.train(at, 80)
    assert world.training.finish(20)
    assert published(world) == published(calm)
    assert world.losses.tolist() == calm.losses.tolist()


def test_a_pinned_domain_keeps_its_share_in_probes(way, published, tmp_path):
    options = {**OPTIONS, "pinned": {"math": 0.25}, "one_hot_factor": 0.8}
    world = World(way, tmp_path, options=options)
    world.train(0, 40)
    probes = [world.training.weights(step) for step in range(LEAD, LEAD + 12)]
    assert world.training.finish(20)
    assert len(published(world)) == 2
    columns = world.training._probing.round.columns
    assert columns == ["code", "web"]
    assert {weights["math"] for weights in probes} == {0.25}


def test_losses_that_are_no_numbers_are_never_refused(way, client, tmp_path):
    world = World(way, tmp_path)
    world.train(0, 8)
    kept, world.losses = world.losses, np.full(3, np.nan)
    world.train(8, 12)
    world.losses = kept
    world.train(12, 70)
    assert world.training.finish(20)
    found = client.get(f"/v1/trainings/{world.training.id}").json()
    assert (found["refused"], found["version"], found["position"]) == (0, 1, 51)


def test_the_tables_that_are_told_are_those_that_the_plan_names(way, client, tmp_path):
    world = World(way, tmp_path)
    world.train(0, 30)
    assert world.training.finish(20)
    events = client.get(f"/v1/trainings/{world.training.id}/events").json()["items"]
    (told,) = [one["content"]["probe_losses"] for one in events if one["kind"] == "observe"]
    options = {name: value for name, value in OPTIONS.items() if name != "floor"}
    aioli = Aioli(**options)
    plan = aioli.plan(aioli.init(tuple(DOMAINS), np.full(3, 1 / 3), 0))
    assert told["rows"] == ["before", *(one["row"] for one in plan["intervals"])]
    mixtures = dict(zip(DOMAINS, plan["mixtures"]["values"], strict=True))
    falls = [-3 * LAW @ mixtures[one["probe"]] for one in plan["intervals"]]
    np.testing.assert_allclose(np.diff(told["values"], axis=0), falls, atol=1e-12)
