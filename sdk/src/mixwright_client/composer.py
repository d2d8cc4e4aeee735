"""Composer: a callback that reports and hands out, and saves its state with the run's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixwright_client.training import Losses, Training


def callback(training: Training, losses: Losses | None = None) -> Any:  # noqa: ANN401
    """Return a `composer.Callback`.

    Args:
        training: every rank's own.
        losses: what the model's `loss` adds to; None where nothing is reported.
    """
    from composer import Callback

    class MixtureCallback(Callback):  # type: ignore[misc]
        def batch_end(self, state: Any, logger: Any) -> None:  # noqa: ANN401
            training.step_end(state.timestamp.batch.value - 1, losses)  # counted already

        def close(self, state: Any, logger: Any) -> None:  # noqa: ANN401
            training.finish()

        def state_dict(self) -> dict[str, Any]:
            return training.state_dict()

        def load_state_dict(self, state: dict[str, Any]) -> None:
            training.load_state_dict(state)

    return MixtureCallback()
