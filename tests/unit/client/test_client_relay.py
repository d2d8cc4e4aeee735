import json
import sys
import threading

import pytest
from fake_server import DOMAINS, FakeServer

from mixwright_client.client import UnreachableError
from mixwright_client.courier import Pace
from mixwright_client.relay import forward, relay
from mixwright_client.settings import Settings
from mixwright_client.training import Training
from mixwright_client.transport import FolderTransport, HttpTransport, Request, connect

BODY = {"name": "small", "domains": DOMAINS, "algorithm": "odm"}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    module = sys.modules["mixwright_client.relay"]  # the package has a function of that name
    monkeypatch.setattr(module, "_PAUSE", 0.005)
    monkeypatch.setattr(module, "_PAUSE_AWAY", 0.005)


def losses_of(step):
    return {"a": 3.0 + step, "b": 2.0, "c": 1.0}


def test_a_training_through_a_folder_is_as_one_over_http(tmp_path):
    stop = threading.Event()
    faults = ["none", "lose", "mute", "none", "away", "repeat", "lose", "mute"] * 3
    with FakeServer(faults) as server:
        thread = threading.Thread(target=relay, args=(tmp_path / "shared", server.url, stop))
        thread.start()
        try:
            settings = Settings(folder=tmp_path, sync_every=2, pace=Pace(0.01, 0.001))
            training = Training.register(f"file://{tmp_path}/shared", BODY, settings)
            for step in range(12):
                training.step_end(step, losses_of(step))
            assert training.finish(20)
        finally:
            stop.set()
            thread.join()
        assert list(server.store.observations) == list(range(12))
        assert len(server.store.entries) == 13
    assert not list((tmp_path / "shared/requests").iterdir())


def test_what_the_server_does_not_answer_waits_in_its_order(tmp_path):
    client = FolderTransport(tmp_path, patience=0.0)
    with FakeServer(["lose"]) as server:
        way = HttpTransport(server.url)
        for step in range(3):
            body = {"step": step, "losses": losses_of(step)}
            with pytest.raises(UnreachableError, match="no relay"):
                client.send(Request("POST", "/v1/trainings/trn_1/observations", body))
        assert not forward(tmp_path, way)
        assert len(list((tmp_path / "requests").iterdir())) == 3
        assert forward(tmp_path, way)
        assert list(server.store.observations) == [0, 1, 2]
        body = {"step": 0, "losses": losses_of(0)}
        answer = client.send(Request("POST", "/v1/trainings/trn_1/observations", body))
        assert answer.status == 200
        assert answer.body["version"] == 1
        assert list((tmp_path / "requests").iterdir()) == []
        way.close()


def test_answers_to_a_process_that_is_gone_are_not_taken(tmp_path):
    request = Request("GET", "/v1/trainings/trn_1/weights")
    with FakeServer() as server:
        way = HttpTransport(server.url)
        with pytest.raises(UnreachableError):
            FolderTransport(tmp_path, patience=0.0).send(request)
        assert forward(tmp_path, way)
        after = FolderTransport(tmp_path, patience=0.0)
        with pytest.raises(UnreachableError):
            after.send(request)
        way.close()


def test_a_file_that_is_no_request_is_answered_and_goes(tmp_path):
    FolderTransport(tmp_path)
    (tmp_path / "requests/0-x.json").write_text('{"what": 1}')
    with FakeServer() as server:
        way = HttpTransport(server.url)
        assert forward(tmp_path, way)
        way.close()
    assert json.loads((tmp_path / "answers/0-x.json").read_text())["status"] == 400


def test_the_token_stays_with_the_relay(tmp_path, monkeypatch):
    client = FolderTransport(tmp_path, patience=0.0)
    with FakeServer() as server:
        with pytest.raises(UnreachableError):
            client.send(Request("GET", "/v1/trainings/trn_1/weights"))
        monkeypatch.setenv("MIXWRIGHT_TOKEN", "mw_secret")
        way = connect(server.url)
        assert forward(tmp_path, way)
        way.close()
        assert server.requests[0][2]["authorization"] == "Bearer mw_secret"
    texts = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert texts
    assert "secret" not in "".join(texts)


@pytest.mark.parametrize("address", ["ftp://x", "server:8000", "file://", ""])
def test_an_address_of_another_kind_is_refused(address):
    with pytest.raises(ValueError, match="no address of a server"):
        connect(address)
