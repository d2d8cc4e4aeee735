"""Plans of probes: a toy whose losses depend on every row that it was trained on."""

import json

import pytest
from fake_server import DOMAINS, FakeServer
from test_client_training import BODY, BlockedTransport, blocked, settings_in, until

from mixwright_client.ledger import Entry, Ledger
from mixwright_client.probing import Probing, Round
from mixwright_client.sampler import BatchPlan
from mixwright_client.training import Training

SIZES = dict.fromkeys(DOMAINS, 50)
BATCH = BatchPlan(16, seed=3)
THIRD = dict.fromkeys(DOMAINS, 1 / 3)
PLAN = {
    "before": "before",
    "mixtures": {"rows": ["a", "b"], "columns": ["a", "b"], "values": [[0.75, 0.25], [0.5, 0.5]]},
    "intervals": [{"row": "1:b", "probe": "b"}, {"row": "2:a", "probe": "a"}],
    "probe_steps": 3,
    "remaining_steps": 5,
}


class Toy:
    """Losses that fall by the rows of their domain, and a trainer of them."""

    def __init__(self, training, losses=None):
        self.training = training
        self.losses = dict(losses or {"a": 4.0, "b": 3.0, "c": 5.0})
        self.sampler = training.batch_sampler(SIZES, BATCH)
        self.planned = []  # batches that were drawn and not trained on
        training.probe_with(lambda: self.losses)

    def train(self, start, stop):
        drawn = []
        for step in range(start, stop):
            while len(self.planned) <= self.training.settings.prefetch_steps:
                self.planned.append(self.sampler.next_batch())
            rows = self.planned.pop(0)
            counts = {name: int(sum(rows // 50 == i)) for i, name in enumerate(DOMAINS)}
            for name, count in counts.items():
                self.losses[name] *= 1 - count / 1000
            drawn.append(counts)
            self.training.step_end(step)
        return drawn

    def state(self):
        return json.loads(
            json.dumps({"losses": self.losses, "training": self.training.state_dict()})
        )


def probing_server(faults=()):
    server = FakeServer(faults)
    server.store.probe_steps = 2
    return server


def registered(server, folder, **options):
    settings = settings_in(folder, **{"patience": 60, **options})
    return Toy(Training.register(server.url, BODY, settings))


def resumed(server, folder, state, **options):
    settings = settings_in(folder, **{"patience": 60, **options})
    return Toy(Training.from_state(server.url, state["training"], settings), state["losses"])


def test_batches_follow_the_probes_and_then_the_weights_that_came(tmp_path):
    with probing_server() as server:
        toy = registered(server, tmp_path)
        drawn = toy.train(0, 30)
        assert toy.training.finish(20)
    # The first hand-out ends step 1, so the probes are steps 2 to 7; their losses are told with
    # step 7; two steps later the weights hold, six more are trained, then comes the next round.
    favourites = [max(counts, key=counts.get) for counts in drawn]
    assert favourites[2:8] == list("aabbcc")
    assert all(max(counts.values()) >= 12 for counts in drawn[2:8])
    assert [max(counts.values()) <= 8 for counts in drawn[8:15]] == [True] * 7
    assert favourites[15:21] == list("bbccaa")
    assert sorted(server.store.observations) == [7, 20]
    assert [one["effective_step"] for one in toy.training.ledger.to_json()] == [0, 9, 22]
    assert server.store.acks == [(1, 9), (2, 22)]


def test_the_table_has_the_losses_before_and_after_each_probe(tmp_path):
    with probing_server() as server:
        toy = registered(server, tmp_path)
        seen = [dict(toy.losses)]
        for step in range(8):
            toy.train(step, step + 1)
            seen.append(dict(toy.losses))
        assert toy.training.finish(20)
        assert server.store.observations[7] == {
            "rows": ["before", "0:a", "1:b", "2:c"],
            "columns": DOMAINS,
            "values": [list(seen[step].values()) for step in (2, 4, 6, 8)],
        }


@pytest.mark.parametrize(("sync_every", "prefetch"), [(1, 0), (2, 3), (5, 4)])
def test_a_round_begins_at_a_step_that_is_not_planned(tmp_path, sync_every, prefetch):
    with probing_server() as server:
        toy = registered(server, tmp_path, sync_every=sync_every, prefetch_steps=prefetch)
        drawn = toy.train(0, 60)
        assert toy.training.finish(20)
    start = sync_every + prefetch
    for step in sorted(server.store.observations):
        probes = [max(counts, key=counts.get) for counts in drawn[start : start + 6]]
        assert step == start + 5
        assert sorted(probes) == list("aabbcc")
        assert min(max(counts.values()) for counts in drawn[start : start + 6]) >= 12
        start = step + sync_every + prefetch + 6
    assert len(server.store.observations) >= 2


@pytest.mark.parametrize("prefetch", [0, 3])
@pytest.mark.parametrize("killed", range(1, 24, 3))
def test_whoever_is_killed_in_mid_probe_ends_where_the_undisturbed_one_does(
    tmp_path, killed, prefetch
):
    with probing_server() as server:
        toy = registered(server, tmp_path / "calm", prefetch_steps=prefetch)
        toy.train(0, 30)
        assert toy.training.finish(20)
        expected, told = toy.losses, server.store.observations
    with probing_server() as server:
        first = registered(server, tmp_path / "hit", prefetch_steps=prefetch)
        saved = first.state()
        for step in range(0, killed, 2):
            saved = first.state()
            first.train(step, min(step + 2, killed))
        first.train(killed, killed + 5)  # this is lost
        first.training._courier.finish(20)
        second = resumed(server, tmp_path / "hit", saved, prefetch_steps=prefetch)
        second.train(saved["training"]["step"], 30)
        assert second.training.finish(20)
        assert second.losses == expected
        assert server.store.observations == told


def test_while_the_server_is_away_probes_go_on_and_wait_for_the_answer(tmp_path):
    with probing_server(["away"] * 10_000) as server:
        toy = registered(server, tmp_path, patience=0)
        drawn = toy.train(0, 40)
        assert all(max(counts.values()) <= 6 for counts in drawn[8:])  # no round without a plan
        assert toy.training.weights(8) == THIRD
        server.faults = iter(())
        until(lambda: 7 in server.store.observations and toy.training._courier._plan)
        drawn = toy.train(40, 60)
        assert toy.training.finish(20)
    entries = [entry["effective_step"] for entry in toy.training.ledger.to_json()]
    assert entries[:2] == [0, 42]
    assert [max(counts.values()) >= 12 for counts in drawn] == [False] * 8 + [True] * 6 + [
        False
    ] * 6


def test_what_was_measured_outlives_the_process_and_is_sent_by_the_next(tmp_path):
    with probing_server(["away"] * 10_000) as server:
        toy = registered(server, tmp_path, patience=0)
        toy.train(0, 12)
        state = toy.state()
        toy.training.finish(0.05)
        server.faults = iter(())
        after = resumed(server, tmp_path, state)
        after.train(12, 14)
        assert list(server.store.observations) == [7]
        assert after.training._probing.round.start == 14 + 6
        assert after.training.finish(20)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_not_told_and_the_round_begins_again(tmp_path, bad, caplog):
    with probing_server() as server:
        toy = registered(server, tmp_path)
        toy.train(0, 5)
        kept, toy.losses = toy.losses, {**toy.losses, "b": bad}
        toy.train(5, 6)
        toy.losses = kept
        toy.train(6, 24)
        assert toy.training.finish(20)
    assert list(server.store.observations) == [19]  # from 8 + 6 on
    assert "the round begins again" in caplog.text


def test_a_version_that_comes_in_mid_probe_holds_after_the_probes(tmp_path):
    with probing_server() as server:
        toy = registered(server, tmp_path)
        toy.train(0, 4)
        weights = {"a": 0.5, "b": 0.25, "c": 0.25}
        server.store.entries.append({"version": 1, "effective_step": 0, "weights": weights})
        until(lambda: toy.training._courier._newest == 1)
        toy.train(4, 6)
        assert toy.training.ledger.newest == Entry(1, 8, weights)
        assert toy.training.weights(7)["c"] == pytest.approx(0.8)
        assert toy.training.weights(8) == weights
        assert toy.training.finish(20)
        assert server.store.acks[0] == (1, 8)


def test_training_losses_go_with_the_table_alone(tmp_path):
    with probing_server() as server:
        toy = registered(server, tmp_path)
        for step in range(10):
            toy.training.step_end(step, {"a": float(step), "b": 1.0, "c": 1.0})
        assert toy.training.finish(20)
        assert server.store.posted == [7]


def test_without_a_function_that_measures_nothing_is_probed(tmp_path):
    with probing_server() as server:
        training = Training.register(server.url, BODY, settings_in(tmp_path))
        for step in range(10):
            training.step_end(step)
        assert training.plan["intervals"]
        assert [training.weights(step) for step in range(20)] == [THIRD] * 20
        assert training.finish(20)
        assert Training.attach(server.url, "trn_1", settings_in(tmp_path)).plan == training.plan


def test_a_plan_of_another_kind_is_handed_out_and_saved(tmp_path):
    with FakeServer() as server:
        server.store.plan = lambda: {"phase": len(server.store.observations)}
        settings = settings_in(tmp_path, sync_every=1, patience=60)
        training = Training.register(server.url, BODY, settings)
        assert training.plan == {"phase": 0}
        for step in range(3):
            training.step_end(step, {"a": 1.0, "b": 2.0, "c": 3.0})
        assert training.plan == training.state_dict()["plan"] == {"phase": 3}
        assert training.finish(20)


def test_patience_ends_and_training_goes_on(tmp_path, caplog):
    with probing_server(["away"] * 10_000) as server:
        toy = registered(server, tmp_path, patience=0.01)
        toy.train(0, 10)
        assert "no answer in 0.01 seconds" in caplog.text
        server.faults = iter(())
        assert toy.training.finish(20)


def test_a_domain_that_was_not_evaluated_is_named(tmp_path):
    with probing_server() as server:
        toy = registered(server, tmp_path)
        del toy.losses["b"]
        toy.training.step_end(0)
        with pytest.raises(ValueError, match="have no 'b'"):
            toy.training.step_end(1)
        assert toy.training.finish(20)


@pytest.mark.parametrize("spoilt", [
    {"intervals": [{"row": "1:z", "probe": "z"}]},
    {"probe_steps": 0},
    {"remaining_steps": None},
    {"mixtures": {"rows": ["a", "b"], "columns": ["a", "b"], "values": [[0.9, 0.9], [0.5, 0.5]]}},
    {"mixtures": 5},
])  # fmt: skip
def test_a_plan_that_makes_no_sense_stops_the_probes_but_not_the_training(tmp_path, spoilt, caplog):
    with blocked(tmp_path) as training:
        training.probe_with(lambda: {"a": 1.0, "b": 1.0})
        training._probing.plan = {**PLAN, **spoilt}
        for step in range(6):
            training.step_end(step)
        assert training.weights(9) == THIRD
    assert caplog.text.count("nothing is probed any more") == 1


def test_domains_that_a_plan_does_not_name_keep_their_share():
    probes = Round(PLAN, 4)
    served = {"a": 0.3, "b": 0.3, "pinned": 0.4}
    assert probes.mixture(3, served) is served
    assert probes.mixture(7, served) == pytest.approx({"a": 0.45, "b": 0.15, "pinned": 0.4})
    assert probes.mixture(10, served) is served


@pytest.mark.parametrize(("measured", "step", "offered_at", "expected"), [
    (0, 5, 4, None),  # in mid-round; what the server says of earlier steps is of this round
    (3, 9, 8, None),  # told, but this answer does not know of it
    (3, 9, 9, "new"),
    (3, 30, 12, "new"),
    (3, 9, None, None),
    (2, 8, None, None),
    (2, 9, None, "again"),  # a measurement was missed
])  # fmt: skip
def test_a_plan_is_taken_once_the_table_was_answered(measured, step, offered_at, expected):
    probing = Probing(PLAN, DOMAINS)
    probing.evaluate = dict
    probing.round = Round(PLAN, 4, [[1.0, 1.0]] * measured)
    new = {**PLAN, "round": 1}
    found = probing.next_plan(step, None if offered_at is None else (offered_at, new))
    assert found == {"new": new, "again": PLAN, None: None}[expected]


def test_a_state_from_before_a_measurement_does_not_have_it():
    probing = Probing(PLAN, DOMAINS)
    probing.begin(PLAN, 4)
    probing.round.losses = [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    counts = [len(probing.state_dict(step)["round"]["losses"]) for step in (3, 4, 6, 7, 10, 99)]
    assert counts == [0, 1, 1, 2, 3, 3]


def test_the_switch_stops_the_probes(tmp_path, monkeypatch):
    with probing_server() as server:
        toy = registered(server, tmp_path)
        toy.train(0, 4)
        state = toy.state()
        assert toy.training.finish(20)
        assert toy.training.weights(4) != THIRD
        monkeypatch.setenv("MIXWRIGHT_DISABLE", "1")
        assert resumed(server, tmp_path, state).training.weights(4) == THIRD


def test_a_checkpoint_without_probes_is_welcome(tmp_path):
    ledger = Ledger(DOMAINS, Entry(0, 0, THIRD))
    old = {"training": "trn_1", "domains": DOMAINS, "step": 3, "sampler": None}
    old["ledger"] = ledger.to_json()
    training = Training.from_state(BlockedTransport(), old, settings_in(tmp_path))
    assert training.plan == {}
    assert training.weights(3) == THIRD
