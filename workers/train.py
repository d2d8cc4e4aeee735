"""Trains a group of proxies: the whole loop.

Shapes: K slots, B sequences, T tokens, D domains. Batches are a pure function of the step, so a
training goes on from a checkpoint as if it had never stopped.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixwright.arrays import FloatArray
from mixwright.corpus.selection import DocumentPool, Selection
from mixwright.corpus.store import TokenStore
from mixwright.proxies import ProxyModel
from workers import sizing
from workers.checkpoint import Checkpoints
from workers.documents import DocumentSampler, choose, pool_of
from workers.evaluation import evaluate, named, windows_of
from workers.keeping import keep
from workers.model import initialise
from workers.order import GroupOrder, RunOrder
from workers.pace import pace_of
from workers.results import DIVERGED, EMPTY, Measured, RunResult, of_average
from workers.sampler import Sampler
from workers.sizing import Fit
from workers.staged import StagedSampler
from workers.step import TrainingState, add_to_average, averaged, begin, train_step

Points = list[dict[str, Any]]


def train_group(
    order: GroupOrder,
    store: TokenStore,
    device: torch.device,
    *,
    checkpoints: Checkpoints,
    on_step: Callable[[float], None],
    on_evaluation: Callable[[Points], None],
    should_stop: Callable[[], bool],
    models: str = "",
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
        models: where proxies are kept, if the order asks for it: a folder or an fsspec URI.

    Raises:
        OrderError: fewer tokens than one batch; schedules that cannot be trained.
        CorpusError: a domain is missing, or smaller than a window; or documents have no scores.
        ModelTooLargeError: not one proxy fits.
        KeptError: proxies cannot be kept in `models`.
    """
    model = order.shape(store.vocabulary)
    store.require_windows(order.domains, model.context)
    pace = pace_of(order, model, order.runs)
    task = _Task(order, store, model, device, len(pace), pool_of(order, store), models)
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
    pool: DocumentPool | None
    models: str


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
    pace = pace_of(order, task.model, runs)
    chosen = choose(task.pool, runs, order.sampling.budget_tokens)
    sampler = _sampler(task, runs, chosen)
    validation = _validation(task)
    state = _begin(task, runs, chosen, fit, saved["training"])
    rates = _per_slot(pace.rates, len(state.alive)).to(task.device)
    evaluate_after = {pace.steps_at(share) for share in order.evaluation.at}
    points: Points = list(saved["points"])
    last: Measured = dict(saved.get("last") or {})
    for windows in _batches(sampler, state.step, num_steps, len(state.alive), task.device):
        if should_stop():
            return None
        train_step(
            state,
            task.model,
            windows,
            order.optimizer,
            rates[:, state.step],
            fit.micro_batch,
            is_compiled=order.compile,
        )
        if state.step in pace.averaged:
            add_to_average(state, _per_slot(pace.averaged[state.step], len(state.alive)))
        if state.step in evaluate_after:
            last |= _evaluate(task, runs, state, validation)
            new = _points(last, runs, state, pace.tokens_after(state.step, task.model.context))
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
    results = _results(task, runs, chosen, state, sampler, last)
    if state.average is not None:
        state = replace(state, parameters=averaged(state))
        results = of_average(results, pace, _evaluate(task, runs, state, validation))
    return _kept(task, results, state) if order.keep else results


def pick_device(name: str) -> torch.device:
    """Return the device called `cpu`, `cuda` or `auto`: the GPU if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


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


def _sampler(
    task: _Task, runs: Sequence[RunOrder], chosen: Sequence[Selection]
) -> Sampler | StagedSampler:
    order, store, pool = task.order, task.store, task.pool
    if order.has_schedules:
        schedules = [run.schedule for run in runs if run.schedule is not None]
        draws = [(run.seed, run.stream) for run in runs]
        return StagedSampler(store, order.domains, schedules, draws, task.model.context)
    shards = [store.train(store.domains.index(name)) for name in order.domains]
    seeds, streams = [run.seed for run in runs], [run.stream for run in runs]
    batch = {
        "sequences": order.optimizer.batch_sequences,
        "context": task.model.context,
        "num_steps": task.num_steps,
    }
    if pool is not None:  # a slot without documents is dead, and draws what it likes
        selections = [one if one.tokens.any() else pool.everything() for one in chosen]
        return DocumentSampler(shards, pool, selections, seeds, streams, **batch)
    pools = order.sampling.pool_tokens
    return Sampler(
        shards,
        np.array([[(run.weights or {})[name] for name in order.domains] for run in runs]),
        seeds,
        streams,
        **batch,
        mode=order.sampling.mode,
        max_epochs=order.sampling.max_epochs,
        pool_tokens=None if pools is None else [pools[name] for name in order.domains],
    )


def _validation(task: _Task) -> list[Tensor]:
    store, count = task.store, task.order.evaluation.windows
    columns = [store.domains.index(name) for name in task.order.domains]
    return [windows_of(store.validation(c), count, task.model.context) for c in columns]


def _begin(
    task: _Task,
    runs: Sequence[RunOrder],
    chosen: Sequence[Selection],
    fit: Fit,
    saved: dict[str, Any] | None,
) -> TrainingState:
    """Return the state to train from; on a GPU short groups are filled up with inert slots.

    There the number of slots decides which kernels run, and so the last bits of every slot.
    """
    if saved is not None:
        return TrainingState(**saved)
    inert = max(0, fit.width - len(runs)) if task.device.type == "cuda" else 0
    seeds = [run.seed for run in runs] + [0] * inert
    parameters = {n: p.to(task.device) for n, p in initialise(task.model, seeds).items()}
    filled = [bool(one.tokens.any()) for one in chosen] or [True] * len(runs)
    alive = torch.tensor(filled + [False] * inert, device=task.device)
    return begin(parameters, alive)


def _per_slot(values: FloatArray, num_slots: int) -> Tensor:
    """Return numbers of runs (K, ...) in float32, with zeros for slots that only fill up."""
    inert = np.zeros((num_slots - len(values), *values.shape[1:]))
    return torch.from_numpy(np.concatenate([values, inert])).float()


def _batches(
    sampler: Sampler | StagedSampler,
    first: int,
    num_steps: int,
    num_slots: int,
    device: torch.device,
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
) -> Measured:
    """Return metrics and standard errors of the runs that have not diverged."""
    evaluation = evaluate(state.parameters, task.model, validation)
    alive = state.alive.tolist()
    return {
        run.id: named(evaluation, slot, task.store, list(task.order.domains))
        for slot, run in enumerate(runs)
        if alive[slot]
    }


def _points(
    last: Measured,
    runs: Sequence[RunOrder],
    state: TrainingState,
    tokens: float,
) -> Points:
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
    chosen: Sequence[Selection],
    state: TrainingState,
    sampler: Sampler | StagedSampler,
    last: Measured,
) -> list[RunResult]:
    alive, drawn = state.alive.tolist(), sampler.realised_tokens(task.num_steps)
    epochs = np.divide(drawn, sampler.pool_sizes, out=np.zeros(drawn.shape), where=drawn > 0)
    domains = task.order.domains
    results = []
    for slot, run in enumerate(runs):
        metrics, errors = last.get(run.id, ({}, {}))
        selected = chosen[slot].tokens.tolist() if chosen else None
        is_empty = selected is not None and not any(selected)
        results.append(
            RunResult(
                run_id=run.id,
                state="succeeded" if alive[slot] else "empty" if is_empty else "diverged",
                reason="" if alive[slot] else EMPTY if is_empty else DIVERGED,
                metrics=metrics,
                standard_errors=errors,
                realised_tokens=dict(zip(domains, drawn[slot].tolist(), strict=True)),
                epochs=dict(zip(domains, epochs[slot].tolist(), strict=True)),
                device=_device_name(task.device),
                width=len(state.alive),
                selected_tokens=dict(zip(domains, selected, strict=True)) if selected else {},
            )
        )
    return results


def _kept(task: _Task, results: Sequence[RunResult], state: TrainingState) -> list[RunResult]:
    """Write the parameters of those that succeeded; return results that tell where."""
    return [
        result
        if result.state != "succeeded"
        else replace(
            result,
            kept=keep(
                task.models,
                result.run_id,
                task.model,
                {name: p[slot] for name, p in state.parameters.items()},
                task.store,
            ),
        )
        for slot, result in enumerate(results)
    ]


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
