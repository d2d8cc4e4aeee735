"""Lightning: a callback that reports and hands out, and saves its state with the run's.

Use `Trainer(use_distributed_sampler=False)`: the sampler shares out by itself. To go on with a
checkpoint, make the training of the state in it, and give it to `fit` as `ckpt_path` besides:
`Training.from_state(url, torch.load(checkpoint)["callbacks"]["mixwright"], settings)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixwright_client.training import Losses, Training


def callback(training: Training, losses: Losses | None = None) -> Any:  # noqa: ANN401
    """Return a `lightning.Callback`.

    Args:
        training: every rank's own.
        losses: what `training_step` adds to; None where nothing is reported.
    """
    from lightning import Callback

    class MixtureCallback(Callback):  # type: ignore[misc]
        state_key = "mixwright"  # in the checkpoint's `callbacks`

        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:  # noqa: ANN401
            # Comes after every micro-batch; the steps it counts are the optimiser's, done already.
            if trainer.global_step > 0:
                training.step_end(trainer.global_step - 1, losses)

        def on_fit_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
            training.finish()

        def state_dict(self) -> dict[str, Any]:
            return training.state_dict()

        def load_state_dict(self, state: dict[str, Any]) -> None:
            training.load_state_dict(state)

    return MixtureCallback()
