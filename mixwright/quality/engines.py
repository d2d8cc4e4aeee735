"""Where shards are worked on: in this process, in others on this machine, or on a cluster of Ray.

An engine does a task for every path, in any order, and yields each path with what gives its result
or raises why there is none.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stdout
from functools import partial
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any, Protocol

from mixwright.errors import MixwrightError

Record = dict[str, Any]
Task = Callable[[Path], Record]
Done = Iterator[tuple[Path, Callable[[], Record]]]

_IN_FLIGHT = 2  # shards a processor of the cluster, so that none waits for this process


class WorkerDiedError(MixwrightError):
    """A process that worked on a shard ended, or its cluster did."""


class Engine(Protocol):
    """Does a task for every path."""

    def __call__(self, task: Task, paths: Sequence[Path], workers: int | None) -> Done:
        """Yield results as they come; `workers` are at work at once, None for the usual."""


def in_processes(task: Task, paths: Sequence[Path], workers: int | None = None) -> Done:
    """Work in as many processes, by default in this one.

    Raises:
        WorkerDiedError: a process was killed.
    """
    if workers is None or workers == 1:
        yield from ((path, partial(task, path)) for path in paths)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _end_with_parent)
    try:
        with _without_main():
            futures = {pool.submit(task, path): path for path in paths}
        for future in as_completed(futures):
            yield futures[future], future.result
    except BrokenProcessPool as error:
        raise WorkerDiedError(
            "a worker died, perhaps for want of memory; run this again, with fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def on_ray(task: Task, paths: Sequence[Path], workers: int | None = None) -> Done:
    """Work on a cluster of Ray, a shard a processor: that of RAY_ADDRESS, or one started here.

    Its nodes need this package and the files at the same paths. A shard whose worker died is tried
    again, on another node if need be. By default all processors work.

    Raises:
        WorkerDiedError: workers died again and again, or the cluster did.
    """
    import ray

    with redirect_stdout(sys.stderr), _connected(ray):  # Ray prints what becomes of workers
        try:
            yield from _in_flight(ray, task, paths, workers)
        except ray.exceptions.RayTaskError:
            raise  # a mistake in the task, with its own traceback
        except ray.exceptions.RayError as error:
            raise WorkerDiedError(
                f"the cluster lost a worker for good: {error}; run this again when that is mended"
            ) from error


@contextmanager
def _connected(ray: Any) -> Iterator[None]:  # noqa: ANN401
    """Be connected to a cluster; to the caller's, if it is connected."""
    if ray.is_initialized():
        yield
        return
    ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
    try:
        yield
    finally:
        ray.shutdown()


def _in_flight(ray: Any, task: Task, paths: Sequence[Path], workers: int | None) -> Done:  # noqa: ANN401
    attempt, task = ray.remote(num_cpus=1, max_retries=3)(_attempt), ray.put(task)
    limit = workers or max(1, _IN_FLIGHT * int(ray.cluster_resources().get("CPU", 1)))
    waiting, running = list(reversed(paths)), dict[Any, Path]()
    while waiting or running:
        while waiting and len(running) < limit:
            path = waiting.pop()
            running[attempt.remote(task, path)] = path
        (ready,), _ = ray.wait(list(running), num_returns=1)
        yield running.pop(ready), partial(_result, ray.get(ready))


def _attempt(task: Task, path: Path) -> Record | MixwrightError:
    """Do a task; what it raises on purpose is a result, and no reason to try again."""
    try:
        return task(path)
    except MixwrightError as error:
        return error


def _result(found: Record | MixwrightError) -> Record:
    if isinstance(found, MixwrightError):
        raise found
    return found


def _end_with_parent() -> None:
    """Let a worker end when its parent does, however that ends."""

    def watch() -> None:
        if parent := parent_process():
            connection.wait([parent.sentinel])
            os._exit(1)

    Thread(target=watch, name="parent watch", daemon=True).start()


@contextmanager
def _without_main() -> Iterator[None]:
    """Let workers import what they work with, and not the program that starts them: seconds."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
