"""The callback in Lightning's own trainer, stopped and resumed, against a small server."""

import numpy as np
import pytest
from fake_server import DOMAINS, FakeServer

from mixwright_client import BatchPlan, DomainLoss, Ledger, MixtureBatchSampler, Settings, Training
from mixwright_client.courier import Pace
from mixwright_client.lightning import callback

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning")

SIZES = dict.fromkeys(DOMAINS, 40)
BODY = {"name": "small", "domains": DOMAINS, "algorithm": "odm"}
PLAN = BatchPlan(global_batch=8, seed=1, micro_batches=2)
STEPS, STOP = 30, 14
SIMPLE = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning"),
]


class Line(lightning.LightningModule):
    def __init__(self, losses, seen):
        super().__init__()
        self.layer, self.domain_losses, self.seen = torch.nn.Linear(1, 1), losses, seen

    def training_step(self, batch):
        (rows,) = batch
        self.seen.setdefault(self.global_step, []).extend(rows.tolist())
        losses = (self.layer(rows[:, None] / 120) - rows[:, None] / 120).square()
        self.domain_losses.add(losses, rows.long() // 40)
        return losses.mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(training, seen, folder, steps, checkpoint=None):
    sampler = training.batch_sampler(SIZES, PLAN, STEPS)
    rows = torch.utils.data.TensorDataset(torch.arange(120.0))
    losses = DomainLoss(DOMAINS)
    trainer = lightning.Trainer(
        **SIMPLE,
        max_steps=steps,
        accumulate_grad_batches=2,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
        callbacks=[callback(training, losses)],
    )
    loader = torch.utils.data.DataLoader(rows, batch_sampler=sampler)
    trainer.fit(Line(losses, seen), loader, ckpt_path=checkpoint, weights_only=True)
    trainer.save_checkpoint(folder / "last.ckpt")


def test_stopped_and_resumed_it_sees_the_batches_of_its_ledger(tmp_path):
    settings = Settings(sync_every=1, report_every=2, folder=tmp_path, pace=Pace(0.01, 0.01))
    seen = {}
    with FakeServer() as server:
        training = Training.register(server.url, BODY, settings)
        fit(training, seen, tmp_path, STOP)
        saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]["mixwright"]
        assert saved["step"] == STOP
        again = Training.from_state(server.url, saved, settings)
        fit(again, seen, tmp_path, STEPS, tmp_path / "last.ckpt")
    state = again.state_dict()
    assert state["step"] == STEPS
    assert list(server.store.observations) == list(range(1, STEPS, 2))
    ledger = Ledger.from_json(state["domains"], state["ledger"])
    expected = MixtureBatchSampler(SIZES, lambda step: ledger.at(step).weights, PLAN, STEPS)
    for step in range(STEPS):
        np.testing.assert_array_equal(seen[step], expected.next_batch())
