import json
import threading

from fake_server import DOMAINS, FakeServer

from mixwright_client.pull import WeightsFile, pull, pull_once, write_weights
from mixwright_client.transport import Answer, HttpTransport


class Saying:
    def __init__(self, *bodies):
        self.bodies = iter(bodies)

    def send(self, request):
        return Answer(200, next(self.bodies))


def entry(version, weights):
    return {"version": version, "effective_step": 0, "weights": weights}


def test_a_file_is_written_for_newer_weights_only(tmp_path):
    path = tmp_path / "weights.json"
    with FakeServer() as server:
        way = HttpTransport(server.url)
        version = pull_once(way, "trn_1", path)
        assert json.loads(path.read_text()) == server.store.entries[0]["weights"]
        path.unlink()
        assert pull_once(way, "trn_1", path, version) == version
        assert not path.exists()
        server.store.observe({"step": 1, "losses": dict.fromkeys(DOMAINS, 2.0)})
        assert pull_once(way, "trn_1", path, version) == 1
        way.close()
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_valid_is_not_written(tmp_path, caplog):
    path = tmp_path / "weights.json"
    bad = [None, {}, entry(1, {"a": 2.0}), entry(1, {"a": -1.0, "b": 2.0})]
    for body in bad:
        assert pull_once(Saying(body), "trn_1", path, 0) == 0
    assert not path.exists()
    assert caplog.text.count("stays as it is") == len(bad)


def test_pulling_goes_on_while_the_server_is_away(tmp_path):
    path, stop = tmp_path / "weights.json", threading.Event()
    with FakeServer(["away", "lose", "none"]) as server:
        options = {"seconds": 0.005, "stop": stop}
        thread = threading.Thread(target=pull, args=(server.url, "trn_1", path), kwargs=options)
        thread.start()
        file, found = WeightsFile(path), None
        while found is None and thread.is_alive():
            found = file.changed()
        stop.set()
        thread.join()
    assert found == server.store.entries[0]["weights"]


def test_a_change_is_seen_once(tmp_path, caplog):
    path = tmp_path / "weights.json"
    file = WeightsFile(path)
    assert file.changed() is None
    for weights in ({"a": 1.0}, {"a": 0.5, "b": 0.5}):
        write_weights(path, weights)
        assert file.changed() == weights
        assert file.changed() is None
    write_weights(path, {"a": 0.7})
    assert file.changed() is None
    path.write_text("{")
    assert file.changed() is None
    assert caplog.text.count("left out") == 2
