"""Hugging Face's Trainer: a callback that reports and hands out, and a loader of our batches.

Set `ignore_data_skip=True`, since the sampler resumes by itself, and `accelerator_config=
{"dispatch_batches": False, "split_batches": False}`. The data set's items carry `domain_id`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixwright_client.sampler import MixtureBatchSampler
    from mixwright_client.training import Losses, Training


def callback(training: Training, losses: Losses | None = None) -> Any:  # noqa: ANN401
    """Return a `transformers.TrainerCallback`, whose state is saved with the trainer's.

    Args:
        training: every rank's own.
        losses: what `compute_loss` adds to; None where nothing is reported.
    """
    from transformers import TrainerCallback
    from transformers.trainer_callback import ExportableState

    class MixtureCallback(TrainerCallback, ExportableState):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401
            training.step_end(state.global_step - 1, losses)  # counted already

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401
            training.finish()

        def state(self) -> dict[str, Any]:
            return {"args": {}, "attributes": {"mixture": training.state_dict()}}

        @property
        def mixture(self) -> dict[str, Any]:
            return training.state_dict()

        @mixture.setter
        def mixture(self, state: dict[str, Any]) -> None:
            training.load_state_dict(state)

    return MixtureCallback()


def data_loader(trainer: Any, sampler: MixtureBatchSampler) -> Any:  # noqa: ANN401
    """Return what a Trainer's `get_train_dataloader` is to return: our batches, unsharded.

    It is not handed to accelerate's `prepare`, which would share out again what is shared out.

    Args:
        trainer: a `transformers.Trainer` with its data set, collator and arguments.
        sampler: with this rank's plan; `micro_batches` is `gradient_accumulation_steps`.
    """
    from torch.utils.data import DataLoader

    return DataLoader(
        trainer.train_dataset,
        batch_sampler=sampler,
        collate_fn=trainer.data_collator,
        num_workers=trainer.args.dataloader_num_workers,
        pin_memory=trainer.args.dataloader_pin_memory,
    )
