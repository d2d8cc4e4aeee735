"""Hugging Face's Trainer, whose batches follow weights; transformers 4.57 or later.

`MixtureTrainer` in place of `Trainer` is all. It registers the training, or goes on with that of
the checkpoint it resumes from; draws batches by domain, adds up losses, reports and hands out. For
a trainer that derives from `Trainer`: `class Mine(MixtureTrainer, TheirTrainer)`. Ranks have to be
of data parallelism alone (DDP, FSDP, ZeRO).
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import ConcatDataset, DataLoader
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import get_last_checkpoint

from mixwright_client.domain_loss import DomainLoss
from mixwright_client.registration import Server
from mixwright_client.sampler import BatchPlan, MixtureBatchSampler
from mixwright_client.settings import Settings
from mixwright_client.training import Training

_DOMAIN = "domain_id"  # of a batch's rows, shape `(B,)`; the model never sees it


@dataclass(frozen=True)
class Mixture:
    """What a trainer draws from, and who chooses the weights.

    Attributes:
        server: `http(s)://…`, `file:///folder`, or a transport.
        body: of `POST /v1/trainings`, with `name` and `algorithm`; `domains` is filled in.
        domains: a data set with a length for each, of rows as for a Trainer.
        settings: None for a folder in the trainer's `output_dir`. `prefetch_steps` is raised to
            what the trainer's data loader plans ahead.
    """

    server: Server
    body: Mapping[str, Any]
    domains: Mapping[str, Any]
    settings: Settings | None = None


class MixtureTrainer(Trainer):  # type: ignore[misc]
    """A `transformers.Trainer` whose batches follow weights; made like one, but for `mixture`.

    Batches come from an endless stream, so that `max_steps` counts and epochs do not.

    Args:
        mixture: in place of `train_dataset`.

    Raises:
        ValueError: `max_steps` is not set.
    """

    training: Training  # once `train` was called

    def __init__(self, *args: Any, mixture: Mixture, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, train_dataset=_Rows(mixture.domains.values()), **kwargs)
        if self.args.max_steps < 1:
            raise ValueError("set `max_steps`: a mixture has no epochs")
        self.args.ignore_data_skip = True  # the sampler itself goes on where it was
        self.mixture = mixture
        self.losses = DomainLoss(list(mixture.domains), self.args.device)
        self.add_callback(_callback(self))

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Register a training, or go on with the checkpoint's; then train as a Trainer does.

        Raises:
            ClientError: the server refused, or did not answer; a resumed training does without.
            ValueError: the checkpoint is of a trainer without a mixture.
        """
        folder = resume_from_checkpoint or None
        if folder is True:
            folder = get_last_checkpoint(self.args.output_dir)
        self.training = self._begun(folder)
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def get_train_dataloader(self) -> Any:  # noqa: ANN401
        """Return a loader of this rank's rows; accelerate would share them out again."""
        args = self.args
        collate = self._get_collator_with_removed_columns(self.data_collator, "training")
        return DataLoader(
            self.train_dataset,
            batch_sampler=self._batch_sampler(),
            collate_fn=_Collator(collate),
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            generator=torch.Generator(),  # torch's own is the model's, and is resumed
            prefetch_factor=args.dataloader_prefetch_factor,
        )

    def compute_loss(
        self,
        model: Any,  # noqa: ANN401
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Return the trainer's own loss, having added up that of each domain."""
        inputs = dict(inputs)
        domain_ids = inputs.pop(_DOMAIN, None)
        if domain_ids is None:  # an evaluation
            return super().compute_loss(model, inputs, return_outputs, **kwargs)
        labels = inputs["labels"]
        loss, outputs = super().compute_loss(model, inputs, True, **kwargs)
        token_losses, mask = self.token_losses(outputs, labels)
        self.losses.add(token_losses, domain_ids, mask)
        return (loss, outputs) if return_outputs else loss

    def token_losses(
        self, outputs: Mapping[str, Any], labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return losses in nats and what of them counts, both `(B, T - 1)`, of a causal model.

        To be overridden for other models. Sequences are taken one by one, since logits of a whole
        batch in full precision are large.

        Args:
            outputs: of the model, with `logits` `(B, T, V)`.
            labels: shape `(B, T)`, -100 where nothing counts.

        Raises:
            ValueError: the model returned no logits, as with fused losses.
        """
        logits = outputs.get("logits")
        if logits is None:
            raise ValueError("the model returned no logits; override `token_losses`")
        aims = labels.to(logits.device)[:, 1:]
        with torch.no_grad():
            rows = [
                cross_entropy(row[:-1].float(), aim, reduction="none")
                for row, aim in zip(logits, aims)
            ]
        return torch.stack(rows), aims != -100

    def _begun(self, folder: str | Path | None) -> Training:
        mixture, settings = self.mixture, self._settings()
        if folder:
            return Training.from_state(mixture.server, _saved(Path(folder)), settings)
        body = {"domains": list(mixture.domains), **mixture.body}
        return Training.register(mixture.server, body, settings)

    def _settings(self) -> Settings:
        args = self.args
        settings = self.mixture.settings or Settings(folder=Path(args.output_dir) / "mixwright")
        ahead = args.dataloader_num_workers * (args.dataloader_prefetch_factor or 2)
        steps = -(-ahead // args.gradient_accumulation_steps)
        return replace(settings, prefetch_steps=max(settings.prefetch_steps, steps))

    def _batch_sampler(self) -> MixtureBatchSampler:
        args = self.args
        parts = args.world_size * args.gradient_accumulation_steps
        plan = BatchPlan(
            global_batch=self._train_batch_size * parts,
            seed=args.seed if args.data_seed is None else args.data_seed,
            rank=args.process_index,
            world=args.world_size,
            micro_batches=args.gradient_accumulation_steps,
        )
        sizes = {name: len(rows) for name, rows in self.mixture.domains.items()}
        return self.training.batch_sampler(sizes, plan, args.max_steps)


class _Rows(ConcatDataset):  # type: ignore[type-arg]
    """Rows of all domains one after the other, each with the place of its domain."""

    def __getitem__(self, index: int) -> tuple[int, Any]:
        place = bisect_right(self.cumulative_sizes, index)
        before = self.cumulative_sizes[place - 1] if place else 0
        return place, self.datasets[place][index - before]


@dataclass(frozen=True)
class _Collator:
    collate: Callable[[list[Any]], Mapping[str, Any]]

    def __call__(self, rows: Sequence[tuple[int, Any]]) -> dict[str, Any]:
        domain_ids, items = zip(*rows)
        return {**self.collate(list(items)), _DOMAIN: torch.tensor(domain_ids)}


def _callback(trainer: MixtureTrainer) -> Any:  # noqa: ANN401
    """Return what calls `step_end`, and has a Trainer save our state in `trainer_state.json`."""

    class MixtureCallback(TrainerCallback, ExportableState):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401
            trainer.training.step_end(state.global_step - 1, trainer.losses)  # counted already

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401
            trainer.training.finish()

        def state(self) -> dict[str, Any]:
            return {"args": {}, "attributes": {"mixture": trainer.training.state_dict()}}

    return MixtureCallback()


def _saved(folder: Path) -> dict[str, Any]:
    """Return the state of a training in a Trainer's checkpoint."""
    saved = json.loads((folder / "trainer_state.json").read_text())["stateful_callbacks"]
    if "MixtureCallback" not in saved:
        raise ValueError(f"{folder} is of a trainer without a mixture")
    state: dict[str, Any] = saved["MixtureCallback"]["attributes"]["mixture"]
    return state
