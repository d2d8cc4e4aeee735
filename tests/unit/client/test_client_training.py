import contextlib
import json
import os
import subprocess
import sys
import threading
import time

import pytest
from fake_server import DOMAINS, FIRST, FakeServer
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright_client.client import ClientError, UnreachableError
from mixwright_client.courier import Pace, backed_off
from mixwright_client.ledger import LedgerError
from mixwright_client.sampler import BatchPlan
from mixwright_client.settings import Settings
from mixwright_client.training import Training
from mixwright_client.transport import Answer, FolderTransport

BODY = {"name": "small", "domains": DOMAINS, "algorithm": "odm"}
SIZES = dict.fromkeys(DOMAINS, 50)


def settings_in(folder, **options):
    return Settings(
        **{"sync_every": 2, "folder": folder, "pace": Pace(poll=0.01, retry=0.001), **options}
    )


def losses_of(step):
    return {"a": 3 - step / 50, "b": 2.0 + step % 3, "c": 1.0}


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


def undisturbed(steps):
    with FakeServer() as server:
        server.store.lead_steps = 2
        for step in range(steps):
            server.store.observe({"step": step, "losses": losses_of(step)})
        return server.store


faults = st.lists(st.sampled_from(["none", "lose", "mute", "repeat", "away", "stale"]), max_size=40)


@settings(max_examples=15, deadline=None)
@given(faults)
def test_a_server_knows_the_same_whatever_the_network_does(tmp_path_factory, found):
    with FakeServer(found) as server:
        training = Training.register(
            server.url, BODY, settings_in(tmp_path_factory.mktemp("spool"))
        )
        for step in range(20):
            training.step_end(step, losses_of(step))
        assert training.finish(20)
        expected = undisturbed(20)
        assert list(server.store.observations) == list(expected.observations)
        assert server.store.observations == expected.observations
        assert server.store.entries == expected.entries
    by_version = {entry["version"]: entry for entry in expected.entries}
    for entry in training.ledger.to_json():
        assert entry["weights"] == by_version[entry["version"]]["weights"]


def test_new_weights_hold_from_a_step_that_is_not_planned_and_are_acknowledged(tmp_path):
    with FakeServer() as server:
        training = Training.register(
            server.url, BODY, settings_in(tmp_path, sync_every=5, prefetch_steps=3)
        )
        sampler = training.batch_sampler(SIZES, BatchPlan(6))
        assert server.store.lead_steps == 8
        for step in range(20):
            while sampler.planned <= step + 3:
                sampler.next_batch()
            training.step_end(step, losses_of(step))
            until(lambda step=step: step in server.store.observations)
            time.sleep(0.02)  # for the answer
        assert training.finish()
    applied = [(entry["version"], entry["effective_step"]) for entry in training.ledger.to_json()]
    assert len(applied) > 2
    assert all(step % 5 == 3 or step == 0 or step >= 8 for _, step in applied)
    assert server.store.acks == applied[1:]
    issued = {entry["version"]: entry["effective_step"] for entry in server.store.entries}
    assert all(step >= issued[version] for version, step in applied)


class BlockedTransport:
    """Answers the registration; then nothing, until it is let go."""

    def __init__(self):
        self.go, self.threads = threading.Event(), set()

    def send(self, request):
        if request.path == "/v1/trainings":
            return Answer(201, {"id": "trn_1", **FIRST, "requires": {}})
        self.threads.add(threading.current_thread().name)
        self.go.wait(60)
        raise UnreachableError("nobody")

    def close(self):
        pass


@contextlib.contextmanager
def blocked(folder):
    """A training whose server answers its registration, and then nothing."""
    transport = BlockedTransport()
    training = Training.register(transport, BODY, settings_in(folder))
    try:
        yield training
    finally:
        transport.go.set()
        training.finish(0)


def test_a_step_never_waits_for_the_server(tmp_path):
    transport = BlockedTransport()
    training = Training.register(transport, BODY, settings_in(tmp_path))
    for step in range(100):
        training.step_end(step, losses_of(step))
    assert not transport.go.is_set()
    assert transport.threads <= {"mixwright"}
    assert len((tmp_path / "trn_1.jsonl").read_text().splitlines()) == 100
    transport.go.set()
    assert not training.finish(0.1)
    assert training.weights(10**6) == dict.fromkeys(DOMAINS, 1 / 3)


def test_while_the_server_is_away_nothing_is_lost_and_the_last_weights_stay(tmp_path):
    faults = iter(["away"] * 30)
    with FakeServer(faults) as server:
        training = Training.register(server.url, BODY, settings_in(tmp_path))
        for step in range(50):
            training.step_end(step, losses_of(step))
        assert training.weights(10**6) == training.weights(0)
        assert training.finish(20)
        assert server.store.entries == undisturbed(50).entries


def test_what_was_not_sent_is_sent_by_the_next_process(tmp_path):
    with FakeServer(["away"] * 10_000) as server:
        training = Training.register(server.url, BODY, settings_in(tmp_path))
        for step in range(10):
            training.step_end(step, losses_of(step))
        state = json.loads(json.dumps(training.state_dict()))
        assert not training.finish(0.1)
        server.faults = iter(())
        after = Training.from_state(server.url, state, settings_in(tmp_path))
        assert after.finish(20)
        assert list(server.store.observations) == list(range(10))
        assert server.store.resumes == [(9, 0)]


def test_after_a_crash_the_replayed_steps_count_once(tmp_path):
    with FakeServer() as server:
        first = Training.register(server.url, BODY, settings_in(tmp_path))
        for step in range(10):
            first.step_end(step, losses_of(step))
        assert first.finish(20)
        state = json.loads(json.dumps(first.state_dict()))
        held = [first.weights(step) for step in range(12)]
        lost = Training.from_state(server.url, state, settings_in(tmp_path))
        for step in range(10, 16):
            lost.step_end(step, {"a": 9.0, "b": 1.0, "c": 1.0})
        assert lost.finish(20)
        assert 15 in server.store.observations

        second = Training.from_state(server.url, state, settings_in(tmp_path))
        assert [second.weights(step) for step in range(12)] == held
        for step in range(10, 20):
            second.step_end(step, losses_of(step))
        assert second.finish(20)
        expected = undisturbed(20)
        assert server.store.observations == expected.observations
        assert server.store.entries[-1]["weights"] == expected.entries[-1]["weights"]


def test_what_a_lost_process_left_in_the_spool_is_not_sent(tmp_path):
    with FakeServer() as server:
        first = Training.register(server.url, BODY, settings_in(tmp_path))
        state = first.state_dict(5)
        server.faults = iter(["away"] * 10_000)
        for step in range(9):
            first.step_end(step, {"a": 9.0, "b": float("nan"), "c": 1.0})
        first.finish(0.05)
        server.faults = iter(())
        second = Training.from_state(server.url, state, settings_in(tmp_path))
        assert second.finish(20)
        assert server.store.posted == list(server.store.observations) == [0, 1, 2, 3, 4]
        assert server.store.observations[4] == {"a": 9.0, "b": None, "c": 1.0}


def test_weights_from_before_a_resume_are_not_taken(tmp_path):
    with FakeServer() as server:
        training = Training.register(server.url, BODY, settings_in(tmp_path, sync_every=1000))
        state = training.state_dict(0)
        for step in range(5):
            training.step_end(step, losses_of(step))
        until(lambda: len(server.store.entries) == 6)
        void = server.store.entries[-1]["weights"]
        training.load_state_dict(state)
        until(lambda: server.store.resumes)
        training._hand_out(0)
        assert void not in [entry["weights"] for entry in training.ledger.to_json()]
        training.finish()


def test_weights_that_are_not_valid_are_refused_and_training_goes_on(tmp_path, caplog):
    with FakeServer() as server:
        training = Training.register(server.url, BODY, settings_in(tmp_path, max_step=0.01))
        wild = {"version": 1, "effective_step": 0, "weights": {"a": 1.0, "b": 0.0, "c": 0.0}}
        server.store.entries.append(wild)
        training.step_end(0)
        until(lambda: training._courier._newest == 1)
        training.step_end(1)
        server.store.entries.append({**wild, "version": 2, "weights": {"a": 0.5, "b": 0.5}})
        until(lambda: training._courier._newest == 2)
        training.step_end(3)
        tame = dict.fromkeys(DOMAINS, 1 / 3)
        server.store.entries.append({**wild, "version": 3, "weights": tame})
        until(lambda: training._courier._newest == 3)
        training.step_end(5)
        assert training.finish()
    assert [entry["version"] for entry in training.ledger.to_json()] == [0, 3]
    assert server.store.acks == [(3, 6)]
    assert "moves 0.66" in caplog.text
    assert "'c' is missing" in caplog.text


def test_an_observation_that_is_refused_does_not_hold_up_the_next(tmp_path, caplog):
    with FakeServer() as server:
        server.store.observations[0] = {"a": 0.0}
        training = Training.register(server.url, BODY, settings_in(tmp_path))
        for step in range(3):
            training.step_end(step, losses_of(step))
        assert training.finish()
        assert sorted(server.store.observations) == [0, 1, 2]
    assert "refused observations" in caplog.text


def test_two_trainers_of_one_training_differ_and_both_go_on(tmp_path, caplog):
    """What the first to tell of a step said stays; neither is held up, and weights are shared."""
    with FakeServer() as server:
        names = ("one", "two")
        trainers = [
            Training.attach(server.url, "trn_1", settings_in(tmp_path / name)) for name in names
        ]
        start = threading.Barrier(2)

        def train(offset, training):
            start.wait()
            for step in range(30):
                training.step_end(step, {**losses_of(step), "c": 1.0 + offset})

        threads = [threading.Thread(target=train, args=told) for told in enumerate(trainers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(training.finish(20) for training in trainers)
        known, entries = server.store.observations, server.store.entries
    assert sorted(known) == list(range(30))
    for step, seen in known.items():
        assert seen in [{**losses_of(step), "c": 1.0 + offset} for offset in range(2)]
    refused = [one for one in caplog.messages if "refused observations" in one]
    assert len(refused) == 30
    by_version = {entry["version"]: entry["weights"] for entry in entries}
    for training in trainers:
        for entry in training.ledger.to_json():
            assert entry["weights"] == by_version[entry["version"]]


HOLDING = """
import sys
from pathlib import Path
from mixwright_client.spool import Spool

ack = {"version": 1, "applied_step": 3}
Spool(Path(sys.argv[1]) / "trn_1.jsonl").append({"kind": "acks", "body": ack})
print("holds", flush=True)
sys.stdin.read()
"""


def test_a_folder_that_another_process_uses_for_the_training_is_refused(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, **pipes) as other:
        assert other.stdout.readline() == b"holds\n"
        with FakeServer() as server, pytest.raises(ClientError, match="another process uses"):
            Training.attach(server.url, "trn_1", settings_in(tmp_path))
        other.kill()
    assert "acks" in (tmp_path / "trn_1.jsonl").read_text()
    with FakeServer() as server:
        assert Training.attach(server.url, "trn_1", settings_in(tmp_path)).finish()
        assert server.store.acks == [(1, 3)]


def test_a_step_counts_once(tmp_path):
    with FakeServer() as server:
        training = Training.register(server.url, BODY, settings_in(tmp_path))
        for step in (0, 0, 1, 1, 0, 2):
            training.step_end(step, {**losses_of(step), "a": 1.0})
        assert training.finish()
        posts = [path for method, path, _ in server.requests if path.endswith("observations")]
        assert len(posts) == len(server.store.observations) == 3


def test_what_an_observation_says(tmp_path):
    gram = {"rows": ["a"], "columns": ["b"], "values": [[float("inf")]]}
    losses = {"a": 1.5, "b": None, "c": float("nan")}
    with blocked(tmp_path) as training:
        training.step_end(7, losses, {"gram": gram, "batch_size": 8})
    (line,) = (tmp_path / "trn_1.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "kind": "observations",
        "body": {
            "step": 7,
            "weights_version": 0,
            "losses": {"a": 1.5, "b": None, "c": None},
            "gram": {"rows": ["a"], "columns": ["b"], "values": [[None]]},
            "batch_size": 8,
        },
    }


def test_a_full_disk_does_not_stop_training(tmp_path, monkeypatch, caplog):
    def full(record):
        raise OSError("no space left")

    with blocked(tmp_path) as training:
        monkeypatch.setattr(training._courier._spool, "append", full)
        training.step_end(0, losses_of(0))
    assert "step 0 are lost" in caplog.text


def test_the_switch_keeps_weights_and_talks_to_nobody(tmp_path, monkeypatch):
    with FakeServer() as server:
        live = Training.register(server.url, BODY, settings_in(tmp_path))
        live.step_end(0, losses_of(0))
        until(lambda: live._courier._newest == 1)
        live.step_end(1)
        assert live.finish()
        state = live.state_dict()
        asked = len(server.requests)
        monkeypatch.setenv("MIXWRIGHT_DISABLE", "1")
        frozen = Training.from_state(server.url, state, settings_in(tmp_path))
        for step in range(2, 10):
            frozen.step_end(step, losses_of(step))
        assert frozen.finish()
        assert frozen.weights(1000) == live.weights(2) != live.weights(0)
        with pytest.raises(ClientError, match="initial_weights"):
            Training.register(server.url, BODY, settings_in(tmp_path))
        weights = {"a": 0.5, "b": 0.25, "c": 0.25}
        fixed = Training.register(server.url, {**BODY, "initial_weights": weights})
        assert fixed.weights(9) == weights
        assert len(server.requests) == asked
        monkeypatch.delenv("MIXWRIGHT_DISABLE")
        assert Training.from_state(server.url, fixed.state_dict()).frozen


def test_the_token_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXWRIGHT_TOKEN", "mw_a_b")
    with FakeServer() as server:
        training = Training.register(server.url, BODY, settings_in(tmp_path))
        training.step_end(0, losses_of(0))
        training.finish()
    assert {headers["authorization"] for *_, headers in server.requests} == {"Bearer mw_a_b"}


def test_known_weights_are_not_sent_again(tmp_path):
    with FakeServer() as server:
        training = Training.register(server.url, BODY, settings_in(tmp_path))
        training.step_end(0)
        until(lambda: sum(path.endswith("weights") for _, path, _ in server.requests) > 3)
        training.finish()
    tags = [headers.get("if-none-match") for *_, headers in server.requests]
    assert '"0"' in tags


def test_registering_tries_again_with_the_same_key_and_then_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("mixwright_client.registration.time.sleep", lambda seconds: None)
    keys = []

    class Away(BlockedTransport):
        def send(self, request):
            keys.append(request.key)
            raise UnreachableError("nobody is there")

    with pytest.raises(ClientError, match="nobody is there"):
        Training.register(Away(), BODY, settings_in(tmp_path))
    assert len(keys) == 5
    assert len(set(keys)) == 1
    assert keys[0]


def test_attaching_takes_what_holds(tmp_path):
    with FakeServer() as server:
        for step in range(3):
            server.store.observe({"step": step, "losses": losses_of(step)})
        server.store.entries[1]["state"] = "void"
        server.store.entries[2]["state"] = "proposed"
        server.store.entries[3]["applied_step"] = 11
        training = Training.attach(server.url, "trn_1", settings_in(tmp_path))
        assert training.weights(10) == server.store.entries[0]["weights"]
        assert training.weights(11) == server.store.entries[3]["weights"]
        assert training.ledger.domains == tuple(DOMAINS)


def test_the_stages_of_a_schedule_begin_at_their_step(tmp_path):
    with FakeServer() as server:
        late = {"a": 0.1, "b": 0.1, "c": 0.8}
        ahead = {"version": 1, "effective_step": 7, "weights": late}
        server.store.entries.append(ahead)
        for entry in server.store.entries:
            entry["state"] = "published"
        body = {"name": "t", "schedule": "sch_1"}
        training = Training.register(server.url, body, settings_in(tmp_path))
        assert training.weights(6) == server.store.entries[0]["weights"]
        assert training.weights(7) == late


@pytest.mark.parametrize("versions", [100, 101, 250])
def test_a_ledger_is_read_to_its_last_page(tmp_path, versions):
    with FakeServer() as server:
        for step in range(versions - 1):
            server.store.observe({"step": step, "losses": losses_of(step)})
        attached = Training.attach(server.url, "trn_1", settings_in(tmp_path / "a"))
        body = {"name": "t", "schedule": "sch_1", "lead_steps": 0}
        registered = Training.register(server.url, body, settings_in(tmp_path / "b"))
        for training in (attached, registered):
            assert len(training.ledger.to_json()) == versions
            assert training.weights(10**6) == server.store.entries[-1]["weights"]


def test_a_rank_that_planned_too_far_says_so(tmp_path):
    entry = {"version": 1, "effective_step": 3, "weights": dict.fromkeys(DOMAINS, 1 / 3)}
    standing = {"step": 2, **FIRST}
    text = json.dumps({"entries": [entry], "plan": None, "start": None, "standing": standing})
    first = {"id": "trn_1", "domains": DOMAINS, "frozen": False}
    first["entries"] = [
        {"version": 0, "effective_step": 0, "weights": dict.fromkeys(DOMAINS, 1 / 3)}
    ]
    told = iter([json.dumps(first), text])
    training = Training.register(
        "http://unused", BODY, settings_in(tmp_path, rank=1, broadcast=lambda mine: next(told))
    )
    sampler = training.batch_sampler(SIZES, BatchPlan(6))
    for _ in range(6):
        sampler.next_batch()
    with pytest.raises(LedgerError, match="planned 4 steps ahead"):
        training.step_end(1)


def test_a_state_keeps_the_sampler_and_its_batches(tmp_path):
    with blocked(tmp_path) as training:
        sampler = training.batch_sampler(SIZES, BatchPlan(6))
        batches = [sampler.next_batch().tolist() for _ in range(9)]
        for step in range(5):
            training.step_end(step)
        state = json.loads(json.dumps(training.state_dict()))
        with pytest.raises(ValueError, match="domains are a, b, c"):
            training.batch_sampler({"x": 1}, BatchPlan(6))
    after = Training.from_state(BlockedTransport(), state, settings_in(tmp_path))
    again = after.batch_sampler(SIZES, BatchPlan(6))
    assert [again.next_batch().tolist() for _ in range(4)] == batches[5:]
    with pytest.raises(LedgerError, match="of training trn_1"):
        Training("trn_2", after.ledger, Settings()).load_state_dict(state)


def test_a_folder_without_a_relay_keeps_training_going(tmp_path):
    transport = FolderTransport(tmp_path / "shared", patience=0.01)
    first = {"training": "trn_1", "domains": DOMAINS, "step": 0, "sampler": None}
    first["ledger"] = [
        {"version": 0, "effective_step": 0, "weights": dict.fromkeys(DOMAINS, 1 / 3)}
    ]
    training = Training.from_state(transport, first, settings_in(tmp_path))
    for step in range(5):
        training.step_end(step, losses_of(step))
    assert not training.finish(0.2)
    assert len(list((tmp_path / "shared/requests").iterdir())) == 1  # asked again, not anew


def test_waits_double_up_to_five_minutes():
    assert [backed_off(1.0, failures, 0.5) for failures in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert backed_off(1.0, 3, 0.0) == 2
    assert backed_off(1.0, 10**6, 0.999) == 300
