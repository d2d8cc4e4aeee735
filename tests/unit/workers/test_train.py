import dataclasses
import errno
import os

import pytest
import torch
from small_group import make_order, make_store

from mixwright.corpus.errors import CorpusError
from mixwright.corpus.store import open_store
from workers import sizing
from workers.checkpoint import Checkpoints
from workers.order import OrderError
from workers.sizing import ModelTooLargeError
from workers.train import train_group

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("corpus"))


class Watch:
    """Gathers what a training tells, and stops it when told."""

    def __init__(self, stop_after=None):
        self.points, self.progress, self._stop_after = [], [], stop_after

    def should_stop(self):
        return self._stop_after is not None and len(self.progress) >= self._stop_after


def train(order, store, folder, watch=None, every=3600.0, checkpoints=None):
    watch = watch or Watch()
    return train_group(
        order,
        store,
        CPU,
        checkpoints=checkpoints or Checkpoints(str(folder), order, every),
        on_step=watch.progress.append,
        on_evaluation=watch.points.extend,
        should_stop=watch.should_stop,
    )


def test_proxies_learn_what_their_mixture_shows_them(store, tmp_path):
    order = make_order(store, tokens=60 * 8 * 16)
    watch = Watch()
    results = train(order, store, tmp_path, watch)
    low = [result.metrics["loss/low"] for result in results]
    assert low == sorted(low, reverse=True)  # the more of a domain, the lower its loss
    assert all(result.state == "succeeded" for result in results)
    assert watch.progress == sorted(watch.progress)
    assert watch.progress[-1] == 1.0
    assert {point["tokens"] for point in watch.points} == {30 * 128.0, 60 * 128.0}


def test_bits_per_byte_are_nats_over_ln_2_where_tokens_are_bytes(store, tmp_path):
    result = train(make_order(store), store, tmp_path)[0]
    nats, bits = result.metrics["loss/low"], result.metrics["bits_per_byte/low"]
    per_byte = store.validation_bytes_per_token(0)
    assert bits == pytest.approx(nats / 0.6931471805599453 / per_byte)
    assert per_byte < 1  # the end of a document is a token that stands for no byte


def test_realised_tokens_are_all_tokens(store, tmp_path):
    order = make_order(store)
    for result in train(order, store, tmp_path):
        assert sum(result.realised_tokens.values()) == order.tokens
        sizes = dict(zip(store.domains, store.train_tokens, strict=True))
        for name, epochs in result.epochs.items():
            assert epochs == pytest.approx(result.realised_tokens[name] / sizes[name])


def test_groups_wider_than_a_step_are_trained_in_parts_with_the_same_bits(store, tmp_path):
    whole = train(make_order(store), store, tmp_path / "a")
    parts = train(make_order(store, width=3), store, tmp_path / "b")
    assert [one.metrics for one in parts] == [one.metrics for one in whole]


@pytest.mark.parametrize("stop_after", [5, 8])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(store, tmp_path, stop_after):
    order = make_order(store, width=2)  # two parts of 12 steps
    undisturbed, seen = Watch(), Watch()
    whole = train(order, store, tmp_path / "a", undisturbed)
    results, turns = None, 0
    while results is None:
        watch, turns = Watch(stop_after), turns + 1
        results = train(order, store, tmp_path / "b", watch, every=0.0)
        seen.points += watch.points
        assert turns < 10
    assert turns > 2
    assert results == whole
    unique = {(p["run"], p["tokens"]): p["metrics"] for p in seen.points}
    assert unique == {(p["run"], p["tokens"]): p["metrics"] for p in undisturbed.points}


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(store, tmp_path):
    order = make_order(store)
    train(order, store, tmp_path, Watch(7), every=0.0)
    files = sorted((tmp_path / "group_1").iterdir())
    assert len(files) == 2
    content = bytearray(files[-1].read_bytes())
    content[len(content) // 2] ^= 1
    files[-1].write_bytes(content)
    loaded = Checkpoints(str(tmp_path), order, 1.0).load(CPU)
    assert loaded["training"]["step"] == 6
    assert train(order, store, tmp_path) == train(order, store, tmp_path / "fresh")


def test_a_checkpoint_of_another_order_is_not_used(store, tmp_path):
    train(make_order(store), store, tmp_path, Watch(7), every=0.0)
    assert Checkpoints(str(tmp_path), make_order(store, tokens=4096), 1.0).load(CPU) is None


def test_a_full_disk_is_survived_and_tried_again(store, tmp_path, monkeypatch):
    order, real, refused = make_order(store), os.fsync, []

    def full(descriptor):
        if len(refused) < 3:
            refused.append(descriptor)
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    results = train(order, store, tmp_path, every=0.0)
    assert len(refused) == 3
    assert all(result.state == "succeeded" for result in results)
    files = list((tmp_path / "group_1").iterdir())
    assert [path.suffix for path in files] == [".pt", ".pt"]  # later ones worked, no halves left


def test_a_store_that_is_deleted_in_mid_run_is_trained_to_the_end(store, tmp_path):
    import shutil

    own = make_store(tmp_path)
    order, watch = make_order(own), Watch()
    expected = train(order, own, tmp_path / "a")
    watch.should_stop = lambda: shutil.rmtree(own.folder, ignore_errors=True)
    assert train(order, own, tmp_path / "b", watch) == expected
    with pytest.raises(CorpusError, match="no token store"):
        open_store(str(own.folder))


def test_checkpoints_are_removed_when_a_group_was_reported(store, tmp_path):
    order = make_order(store)
    checkpoints = Checkpoints(str(tmp_path), order, 0.0)
    train(order, store, tmp_path, checkpoints=checkpoints)
    checkpoints.delete()
    assert not (tmp_path / "group_1").exists()
    checkpoints.delete()


def test_a_proxy_that_diverges_is_told_apart(store, tmp_path):
    order = make_order(store)
    hot = dataclasses.replace(order.runs[1], id="hot", learning_rate=1e30)
    order = make_order_with(order, runs=(order.runs[0], hot, order.runs[2]))
    alone = train(make_order_with(order, runs=(order.runs[0],)), store, tmp_path / "alone")
    results = train(order, store, tmp_path / "three")
    assert [result.state for result in results] == ["succeeded", "diverged", "succeeded"]
    assert "learning rate" in results[1].reason
    assert results[0].metrics == alone[0].metrics


def make_order_with(order, **changes):
    return dataclasses.replace(order, **changes)


def test_fewer_tokens_than_a_batch_are_refused(store, tmp_path):
    with pytest.raises(OrderError, match="100 tokens are less than one batch of 128"):
        train(make_order(store, tokens=100), store, tmp_path)


def test_a_domain_smaller_than_a_window_is_refused(store, tmp_path):
    model = {"layers": 1, "width": 16, "heads": 2, "feed_forward": 24, "tied": False}
    order = make_order(store, model={**model, "context": 20_000}, tokens=10**6)
    with pytest.raises(CorpusError, match=r"'low'.*fewer than two windows"):
        train(order, store, tmp_path)


def test_a_model_too_large_for_memory_is_refused_before_training(store, tmp_path, monkeypatch):
    monkeypatch.setattr(sizing, "free_bytes", lambda device: 1_000)
    with pytest.raises(ModelTooLargeError, match="smaller"):
        train(make_order(store), store, tmp_path)


def test_running_out_of_memory_halves_the_batch_and_changes_next_to_nothing(
    store, tmp_path, monkeypatch
):
    from workers import train as module

    order, real, sizes = make_order(store), module.train_step, []

    def hungry(state, model, windows, optimizer, rates, micro_batch, **more):
        sizes.append(micro_batch)
        if micro_batch > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(state, model, windows, optimizer, rates, micro_batch, **more)

    whole = train(order, store, tmp_path / "a")
    monkeypatch.setattr(module, "train_step", hungry)
    small = train(order, store, tmp_path / "b")
    assert sizes[:3] == [8, 4, 2]
    for one, other in zip(whole, small, strict=True):
        assert one.metrics == pytest.approx(other.metrics, abs=1e-4)


def test_an_order_of_another_version_is_refused_by_field(store):
    with pytest.raises(OrderError, match="colour is unknown"):
        make_order(store, colour="red")
    with pytest.raises(OrderError, match="optimizer/batch_sequences is missing"):
        make_order(store, optimizer={"learning_rate": 0.1})
