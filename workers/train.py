"""Trains a group of proxies: the whole loop.

Shapes: K slots, B sequences, T tokens, D domains. Batches are a pure function of the step, so a
training goes on from a checkpoint as if it had never stopped.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixwright.corpus.store import TokenStore
from mixwright.proxies import ProxyModel
from workers import sizing
from workers.checkpoint import Checkpoints
from workers.evaluation import evaluate, named, windows_of
from workers.learning_rate import multiplier
from workers.model import initialise
from workers.order import GroupOrder, OrderError, RunOrder
from workers.sampler import Sampler
from workers.sizing import Fit
from workers.step import TrainingState, begin, train_step

Points = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a proxy ended.

    Attributes:
        run_id: which.
        state: succeeded, or diverged: its loss or gradient became infinite or undefined.
        reason: what happened to one that diverged.
        metrics: of the last evaluation, by name.
        standard_errors: over windows, like `metrics`.
        realised_tokens: drawn from each domain.
        epochs: the same over the domain's pool.
        device: what it was trained on.
        width: number of slots that were trained together.
    """

    run_id: str
    state: str
    reason: str
    metrics: dict[str, float]
    standard_errors: dict[str, float]
    realised_tokens: dict[str, int]
    epochs: dict[str, float]
    device: str
    width: int


def train_group(
    order: GroupOrder,
    store: TokenStore,
    device: torch.device,
    *,
    checkpoints: Checkpoints,
    on_step: Callable[[float], None],
    on_evaluation: Callable[[Points], None],
    should_stop: Callable[[], bool],
) -> list[RunResult] | None:
    """Train every run of the order; return how they ended, or None if told to stop.

    Args:
        order: what to train.
        store: the tokens.
        device: where.
        checkpoints: where to go on from, and to save to.
        on_step: is told the share of all steps that is done.
        on_evaluation: is told of new points of loss curves: run, tokens, metrics.
        should_stop: asked before every step.

    Raises:
        OrderError: fewer tokens than one batch.
        CorpusError: a domain is missing, or smaller than a window.
        ModelTooLargeError: not one proxy fits.
    """
    model = order.shape(store.vocabulary)
    store.require_windows(order.domains, model.context)
    task = _Task(order, store, model, device, _num_steps(order, model))
    saved = checkpoints.load(device) or {"results": [], "points": [], "training": None}
    results = [RunResult(**result) for result in saved["results"]]
    on_evaluation(saved["points"])
    fit = _fit(task)
    while len(results) < len(order.runs):
        runs = order.runs[len(results) :][: fit.width]
        try:
            ended = _train_together(
                task, runs, fit, saved, results, checkpoints, on_step, on_evaluation, should_stop
            )
        except RuntimeError as error:
            if not sizing.is_out_of_memory(error):
                raise
            fit, saved["training"] = fit.smaller(), None
            continue
        if ended is None:
            return None
        results, saved["training"] = results + ended, None
    return results


@dataclass(frozen=True, slots=True)
class _Task:
    order: GroupOrder
    store: TokenStore
    model: ProxyModel
    device: torch.device
    num_steps: int

    @property
    def tokens_per_step(self) -> int:
        """Of one proxy."""
        return self.order.optimizer.batch_sequences * self.model.context


def _train_together(  # noqa: PLR0913  - the loop, visible at once
    task: _Task,
    runs: Sequence[RunOrder],
    fit: Fit,
    saved: dict[str, Any],
    before: Sequence[RunResult],
    checkpoints: Checkpoints,
    on_step: Callable[[float], None],
    on_evaluation: Callable[[Points], None],
    should_stop: Callable[[], bool],
) -> list[RunResult] | None:
    order, num_steps = task.order, task.num_steps
    sampler = _sampler(task, runs)
    validation = _validation(task)
    state = _begin(task, runs, fit, saved["training"])
    peaks = _peak_rates(order, runs, len(state.alive)).to(task.device)
    evaluate_after = {max(1, math.ceil(share * num_steps)) for share in order.evaluation.at}
    points: Points = list(saved["points"])
    last: dict[str, tuple[dict[str, float], dict[str, float]]] = dict(saved.get("last") or {})
    for windows in _batches(sampler, state.step, num_steps, len(state.alive), task.device):
        if should_stop():
            return None
        rates = peaks * multiplier(order.optimizer, state.step, num_steps)
        train_step(
            state,
            task.model,
            windows,
            order.optimizer,
            rates,
            fit.micro_batch,
            is_compiled=order.compile,
        )
        if state.step in evaluate_after:
            last |= _evaluate(task, runs, state, validation)
            new = _points(last, runs, state, task.tokens_per_step)
            points += new
            on_evaluation(new)
        if checkpoints.is_due and state.step < num_steps:
            content = {"results": [asdict(one) for one in before], "points": points, "last": last}
            checkpoints.save(
                len(before) * num_steps + state.step, {**content, "training": _dump(state)}
            )
        done = len(before) * num_steps + len(runs) * state.step
        on_step(done / (len(order.runs) * num_steps))
    saved["points"] = points
    return _results(task, runs, state, sampler, last)


def pick_device(name: str) -> torch.device:
    """Return the device called `cpu`, `cuda` or `auto`: the GPU if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _num_steps(order: GroupOrder, model: ProxyModel) -> int:
    batch = order.optimizer.batch_sequences * model.context
    if order.tokens < batch:
        raise OrderError(
            f"{order.tokens:,} tokens are less than one batch of {batch:,}; train on more, or use "
            "fewer sequences a batch",
            "tokens",
        )
    return order.tokens // batch


def _fit(task: _Task) -> Fit:
    def on_cpu(proxies: int, sequences: int) -> int:
        return sizing.estimated_bytes(task.model, proxies, sequences)

    def on_gpu(proxies: int, sequences: int) -> int:
        return _measured_bytes(task, proxies, sequences)

    return sizing.fit(
        on_gpu if task.device.type == "cuda" else on_cpu,
        sizing.free_bytes(task.device),
        min(task.order.width, len(task.order.runs)),
        task.order.optimizer.batch_sequences,
    )


def _measured_bytes(task: _Task, proxies: int, sequences: int) -> int:
    """Return the peak memory of one step on a GPU; more than there is if it does not fit."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(task.device)
    try:
        state = begin(
            {n: p.to(task.device) for n, p in initialise(task.model, [0] * proxies).items()},
            torch.ones(proxies, dtype=torch.bool, device=task.device),
        )
        windows = torch.zeros(
            proxies, sequences, task.model.context + 1, dtype=torch.int64, device=task.device
        )
        train_step(state, task.model, windows, task.order.optimizer, state.alive * 0.0)
    except torch.OutOfMemoryError:
        return 1 << 62
    return int(torch.cuda.max_memory_allocated(task.device))


def _sampler(task: _Task, runs: Sequence[RunOrder]) -> Sampler:
    order, store = task.order, task.store
    columns = [store.domains.index(name) for name in order.domains]
    pools = order.sampling.pool_tokens
    return Sampler(
        [store.train(column) for column in columns],
        np.array([[run.weights[name] for name in order.domains] for run in runs]),
        [run.seed for run in runs],
        [run.stream for run in runs],
        sequences=order.optimizer.batch_sequences,
        context=task.model.context,
        num_steps=task.num_steps,
        mode=order.sampling.mode,
        max_epochs=order.sampling.max_epochs,
        pool_tokens=None if pools is None else [pools[name] for name in order.domains],
    )


def _validation(task: _Task) -> list[Tensor]:
    store, count = task.store, task.order.evaluation.windows
    columns = [store.domains.index(name) for name in task.order.domains]
    return [windows_of(store.validation(c), count, task.model.context) for c in columns]


def _begin(
    task: _Task, runs: Sequence[RunOrder], fit: Fit, saved: dict[str, Any] | None
) -> TrainingState:
    """Return the state to train from; on a GPU short groups are filled up with inert slots.

    There the number of slots decides which kernels run, and so the last bits of every slot.
    """
    if saved is not None:
        return TrainingState(**saved)
    inert = max(0, fit.width - len(runs)) if task.device.type == "cuda" else 0
    seeds = [run.seed for run in runs] + [0] * inert
    parameters = {n: p.to(task.device) for n, p in initialise(task.model, seeds).items()}
    alive = torch.tensor([True] * len(runs) + [False] * inert, device=task.device)
    return begin(parameters, alive)


def _peak_rates(order: GroupOrder, runs: Sequence[RunOrder], num_slots: int) -> Tensor:
    rates = [run.learning_rate or order.optimizer.learning_rate for run in runs]
    return torch.tensor(rates + [0.0] * (num_slots - len(runs)))


def _batches(
    sampler: Sampler, first: int, num_steps: int, num_slots: int, device: torch.device
) -> Iterator[Tensor]:
    """Yield windows (K, B, T + 1); on a GPU the next ones are drawn while a step runs."""
    if device.type != "cuda":
        for step in range(first, num_steps):
            yield torch.from_numpy(sampler.batch(step))
        return

    def draw(step: int) -> Tensor:
        windows = torch.from_numpy(sampler.batch(step))
        inert = windows[:1].expand(num_slots - len(windows), -1, -1)
        return torch.cat([windows, inert]).pin_memory()

    with ThreadPoolExecutor(1) as beside:
        following = beside.submit(draw, first)
        for step in range(first, num_steps):
            windows = following.result()
            if step + 1 < num_steps:
                following = beside.submit(draw, step + 1)
            yield windows.to(device, non_blocking=True)


def _evaluate(
    task: _Task, runs: Sequence[RunOrder], state: TrainingState, validation: list[Tensor]
) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    """Return metrics and standard errors of the runs that have not diverged."""
    evaluation = evaluate(state.parameters, task.model, validation)
    alive = state.alive.tolist()
    return {
        run.id: named(evaluation, slot, task.store, list(task.order.domains))
        for slot, run in enumerate(runs)
        if alive[slot]
    }


def _points(
    last: dict[str, tuple[dict[str, float], dict[str, float]]],
    runs: Sequence[RunOrder],
    state: TrainingState,
    tokens_per_step: int,
) -> Points:
    tokens = float(state.step * tokens_per_step)
    return [
        {"run": run.id, "tokens": tokens, "metrics": last[run.id][0]}
        for run, alive in zip(runs, state.alive.tolist(), strict=False)
        if alive
    ]


def _dump(state: TrainingState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in TrainingState.__slots__}


def _results(
    task: _Task,
    runs: Sequence[RunOrder],
    state: TrainingState,
    sampler: Sampler,
    last: dict[str, tuple[dict[str, float], dict[str, float]]],
) -> list[RunResult]:
    alive, drawn = state.alive.tolist(), sampler.realised_tokens(task.num_steps)
    pools = np.array(sampler.pool_sizes, dtype=float)
    results = []
    for slot, run in enumerate(runs):
        metrics, errors = last.get(run.id, ({}, {}))
        tokens = dict(zip(task.order.domains, map(int, drawn[slot]), strict=True))
        epochs = dict(zip(task.order.domains, map(float, drawn[slot] / pools), strict=True))
        results.append(
            RunResult(
                run_id=run.id,
                state="succeeded" if alive[slot] else "diverged",
                reason="" if alive[slot] else _DIVERGED,
                metrics=metrics,
                standard_errors=errors,
                realised_tokens=tokens,
                epochs=epochs,
                device=_device_name(task.device),
                width=len(state.alive),
            )
        )
    return results


_DIVERGED = (
    "the loss or its gradient became infinite or undefined; a lower learning rate, or a longer "
    "warm-up, may help"
)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
