"""`MixtureTrainer` in this process, with a small server; the example's own test is end to end."""

import json

import numpy as np
import pytest
from fake_server import DOMAINS, FakeServer

from mixwright_client import BatchPlan, Ledger, MixtureBatchSampler, Settings
from mixwright_client.courier import Pace

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from mixwright_client.huggingface import Mixture, MixtureTrainer  # noqa: E402  - needs both

ROWS, LENGTH, STEPS = 40, 8, 24
TEXT = torch.arange(3 * ROWS)[:, None] + torch.arange(LENGTH)
MODEL = {"vocab_size": 128, "n_layer": 1, "n_embd": 8, "n_head": 1, "n_positions": LENGTH}


class Witness(MixtureTrainer):
    """Keeps the first token of each row that a step saw, and what was left of its inputs."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen, self.keys = {}, set()

    def compute_loss(self, model, inputs, *args, **kwargs):
        if model.training:
            self.seen.setdefault(self.state.global_step, []).extend(inputs["input_ids"][:, 0])
            self.keys.update(inputs)
        return super().compute_loss(model, inputs, *args, **kwargs)


def domain(place):
    rows = TEXT[place * ROWS : (place + 1) * ROWS]
    return [{"input_ids": row, "labels": row, "source": "not the model's"} for row in rows]


@pytest.fixture
def make(tmp_path):
    def trainer(server, **arguments):
        settings = Settings(sync_every=1, report_every=2, folder=tmp_path, pace=Pace(0.01, 0.01))
        standard = {
            "max_steps": STEPS,
            "per_device_train_batch_size": 3,
            "gradient_accumulation_steps": 2,
            "save_steps": 10,
            "seed": 1,
            "use_cpu": True,
            "dataloader_pin_memory": False,
            "report_to": "none",
            "disable_tqdm": True,
        }
        config = transformers.GPT2Config(**MODEL, bos_token_id=0, eos_token_id=0)
        return Witness(
            model=transformers.GPT2LMHeadModel(config),
            args=transformers.TrainingArguments(str(tmp_path), **{**standard, **arguments}),
            mixture=Mixture(
                server.url,
                {"name": "small", "algorithm": "odm"},
                {name: domain(place) for place, name in enumerate(DOMAINS)},
                settings,
            ),
        )

    return trainer


def expected_rows(state):
    plan = BatchPlan(global_batch=6, seed=1, micro_batches=2)
    ledger = Ledger.from_json(state["domains"], state["ledger"])
    sizes = dict.fromkeys(DOMAINS, ROWS)
    sampler = MixtureBatchSampler(sizes, lambda step: ledger.at(step).weights, plan)
    return [sampler.next_batch() for _ in range(STEPS)]


@pytest.mark.parametrize("workers", [0, 2])
def test_with_micro_batches_and_workers_it_sees_the_batches_of_its_ledger(make, workers):
    with FakeServer() as server:
        trainer = make(server, dataloader_num_workers=workers)
        trainer.train()
        assert server.store.lead_steps == 1 + workers  # two batches ahead, two batches a step
        assert list(server.store.observations) == list(range(1, STEPS, 2))
    for step, rows in enumerate(expected_rows(trainer.training.state_dict())):
        np.testing.assert_array_equal(trainer.seen[step], rows)
    assert trainer.keys == {"input_ids", "labels", "domain_id"}


def test_with_or_without_restored_callbacks_it_goes_on(make, tmp_path):
    with FakeServer() as server:
        make(server, max_steps=10).train()
        first = make(server, restore_callback_states_from_checkpoint=True)
        first.train(resume_from_checkpoint=True)
        second = make(server)
        second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-20"))
    assert sorted(first.seen) == list(range(10, STEPS))
    assert sorted(second.seen) == list(range(20, STEPS))
    for step, rows in enumerate(expected_rows(second.training.state_dict())):
        if step >= 20:
            np.testing.assert_array_equal(second.seen[step], rows)


def test_losses_are_those_of_the_model(make):
    with FakeServer() as server:
        trainer = make(server)
    labels = TEXT[:4].clone()
    labels[1, 5:] = -100
    outputs = trainer.model(input_ids=TEXT[:4], labels=labels)
    losses, counted = trainer.token_losses(outputs, labels)
    assert losses.shape == (4, LENGTH - 1)
    assert losses[counted].mean().item() == pytest.approx(outputs.loss.item(), rel=1e-5)


def test_an_evaluation_is_not_reported(make):
    with FakeServer() as server:
        trainer = make(server)
        trainer.evaluate(domain(0))
    assert set(trainer.losses.report().values()) == {None}


def test_what_cannot_be_is_refused(make, tmp_path):
    with FakeServer() as server:
        with pytest.raises(ValueError, match="set `max_steps`"):
            make(server, max_steps=-1)
        state = {"stateful_callbacks": {}}
        (tmp_path / "trainer_state.json").write_text(json.dumps(state))
        with pytest.raises(ValueError, match="of a trainer without a mixture"):
            make(server).train(resume_from_checkpoint=str(tmp_path))
        with pytest.raises(ValueError, match="override `token_losses`"):
            make(server).token_losses({}, TEXT)
