"""Callbacks of other people's trainers; each is skipped where its framework is not installed.

Stand-ins for the base classes show at least that steps, losses and states are passed on.
"""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from mixwright_client import composer, huggingface, lightning


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


@pytest.fixture
def stand_in(monkeypatch):
    def put(name, **content):
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)

    return put


class Base:
    pass


class OtherBase:
    pass


def test_hugging_face_with_stand_ins(stand_in):
    stand_in("transformers", TrainerCallback=Base)
    stand_in("transformers.trainer_callback", ExportableState=OtherBase)
    training = RecordingTraining()
    callback = huggingface.callback(training, "losses")
    for step in (1, 2):
        callback.on_step_end(None, SimpleNamespace(global_step=step), None)
    callback.on_train_end(None, None, None)
    assert training.steps == [(0, "losses"), (1, "losses")]
    assert training.is_finished
    assert callback.state() == {"args": {}, "attributes": {"mixture": {"step": 2}}}
    callback.mixture = {"step": 1}
    assert training.loaded == {"step": 1}


def test_composer_with_stand_ins(stand_in):
    stand_in("composer", Callback=Base)
    training = RecordingTraining()
    callback = composer.callback(training, "losses")
    batch = SimpleNamespace(value=1)
    callback.batch_end(SimpleNamespace(timestamp=SimpleNamespace(batch=batch)), None)
    callback.close(None, None)
    assert training.steps == [(0, "losses")]
    assert training.is_finished
    callback.load_state_dict(callback.state_dict())
    assert training.loaded == {"step": 1}


def test_lightning_with_stand_ins(stand_in):
    stand_in("lightning", Callback=Base)
    training = RecordingTraining()
    callback = lightning.callback(training, "losses")
    for step in (0, 1, 1):  # two micro-batches make a step
        callback.on_train_batch_end(SimpleNamespace(global_step=step), None, None, None, 0)
    callback.on_fit_end(None, None)
    assert training.steps == [(0, "losses"), (0, "losses")]  # a second one for a step is none
    assert training.is_finished
    callback.load_state_dict(callback.state_dict())
    assert training.loaded == {"step": 2}


def test_hugging_face_takes_its_callback():
    transformers = pytest.importorskip("transformers")
    training = RecordingTraining()
    callback = huggingface.callback(training)
    handler = transformers.trainer_callback.CallbackHandler([callback], None, None, None, None)
    state = transformers.TrainerState(global_step=1, stateful_callbacks=[callback])
    handler.on_step_end(None, state, transformers.TrainerControl())
    assert training.steps == [(0, None)]
    type(callback).from_state(callback.state())


@pytest.mark.parametrize(("name", "module"), [("composer", composer), ("lightning", lightning)])
def test_a_framework_takes_its_callback(name, module):
    framework = pytest.importorskip(name)
    assert isinstance(module.callback(RecordingTraining()), framework.Callback)
