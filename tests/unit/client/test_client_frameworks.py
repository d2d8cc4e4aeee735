"""Composer's callback: with a stand-in for its base class, and itself where it is installed."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from mixwright_client import composer


class RecordingTraining:
    def __init__(self):
        self.steps, self.loaded, self.is_finished = [], None, False

    def step_end(self, step, losses=None):
        self.steps.append((step, losses))

    def finish(self):
        self.is_finished = True

    def state_dict(self):
        return {"step": len(self.steps)}

    def load_state_dict(self, state):
        self.loaded = state


class Base:
    pass


def test_composer_with_a_stand_in(monkeypatch):
    stand_in = ModuleType("composer")
    stand_in.Callback = Base
    monkeypatch.setitem(sys.modules, "composer", stand_in)
    training = RecordingTraining()
    callback = composer.callback(training, "losses")
    batch = SimpleNamespace(value=1)
    callback.batch_end(SimpleNamespace(timestamp=SimpleNamespace(batch=batch)), None)
    callback.close(None, None)
    assert training.steps == [(0, "losses")]
    assert training.is_finished
    callback.load_state_dict(callback.state_dict())
    assert training.loaded == {"step": 1}


def test_composer_takes_its_callback():
    framework = pytest.importorskip("composer")
    assert isinstance(composer.callback(RecordingTraining()), framework.Callback)
