"""What learning costs: fits against BoTorch's, an ask, memory, and many runs.

`python -m benchmarks.replay_costs KIND N` measures one thing in a process of its own.
"""

import json
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np

from benchmarks.replay_tables import HEADLINES, table_of
from benchmarks.worlds import FAMILIES, draw
from mixwright.bayesopt.choosing import Cells
from mixwright.bayesopt.fidelities import OneFactor
from mixwright.bayesopt.knowing import Knowledge, know
from mixwright.bayesopt.learning import LARGEST_EXACT, _searched_at, learn
from mixwright.bayesopt.model import condition, fit
from mixwright.bayesopt.observations import Observations
from mixwright.bayesopt.sparse import condition_sparsely
from mixwright.bayesopt.suggesting import suggest

FAMILY, SEED = "cheap and faithful", 100
FIT_RUNS, LIMIT = (50, 200, 1_000), 120
ASKS, HELD, MANY = 200, LARGEST_EXACT, 3_500
INDUCING = (250, 500, 1_000)
MEGABYTE = 2**10  # ru_maxrss is in kilobytes


def world(count):
    """So many runs, of which a fifth are at the second fidelity and a tenth at the target."""
    runs = (count - count // 5 - count // 10, count // 5, count // 10)
    family = replace(FAMILIES[FAMILY], runs=runs)
    mixtures, fidelity, values, _ = draw(family, SEED)
    order = np.random.default_rng(SEED).permutation(count)
    return Observations.of(mixtures[order], fidelity[order], values[order])


def our_fit(count):
    observations = world(count)
    began = time.process_time()
    fit(observations, OneFactor(3, 2))
    return {"seconds": time.process_time() - began}


def botorch_fit(count, kind):
    """BoTorch's default model, on shares and, last, the fidelity."""
    import warnings

    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import MultiTaskGP, SingleTaskGP
    from gpytorch.mlls import ExactMarginalLogLikelihood

    warnings.simplefilter("ignore")
    runs = world(count)
    x = torch.tensor(np.column_stack([runs.mixtures, runs.fidelity]))
    y = torch.tensor(-runs.values[:, None])
    began = time.process_time()
    if kind == "SingleTaskGP":
        x[:, -1] /= 2.0
        model = SingleTaskGP(x, y)
    else:
        model = MultiTaskGP(x, y, task_feature=-1)
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return {"seconds": time.process_time() - began}


def memory(count):
    """Peak memory of learning from so many runs and asking once."""
    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
    observations, table = world(count), table_of(FAMILY, SEED)
    began = time.process_time()
    knowledge = Knowledge(learn(observations, OneFactor(3, 2)).posterior, None, (), ())
    learned = time.process_time()
    nothing = Cells(table.mixtures[:0], table.fidelity[:0])
    cells = Cells(table.mixtures, table.fidelity)
    next(suggest(knowledge, nothing, cells, table.costs, table.mixtures[table.pool], 0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
    return {
        "imported": imported,
        "peak": peak,
        "learn": learned - began,
        "ask": time.process_time() - learned,
    }


def many(count):
    """Exact and sparse posteriors of so many runs, at 500 other mixtures at the target."""
    every, structure = world(count + 5_000), OneFactor(3, 2)
    target = np.flatnonzero(every.fidelity == 2)
    asked, kept = target[-500:], np.arange(count)
    kept = kept[~np.isin(kept, asked)]
    runs = every.take(kept)
    hyper = fit(every.take(kept[:400]), structure).hyperparameters
    at = np.full(len(asked), 2)
    began = time.process_time()
    exact = condition(runs, structure, hyper)
    found = {"runs": len(kept), "exact": time.process_time() - began, "sparse": []}
    mean, std = exact.mean(every.mixtures[asked], at), None
    std = np.sqrt(exact.variance(every.mixtures[asked], at))
    for inducing in INDUCING:
        began = time.process_time()
        sparse = condition_sparsely(runs, structure, hyper, inducing)
        seconds = time.process_time() - began
        off = np.abs(sparse.mean(every.mixtures[asked], at) - mean) / std
        wider = np.sqrt(sparse.variance(every.mixtures[asked], at)) / std
        found["sparse"].append((inducing, seconds, off.mean(), off.max(), np.median(wider)))
    return found


def asks(count):
    """Seconds of each of the first asks: learning, suggesting and recommending."""
    table, seconds = table_of(HEADLINES[0], SEED), []
    rng = np.random.default_rng(SEED)
    pools = [np.flatnonzero(table.fidelity == index) for index in range(3)]
    shares = (0.75, 0.2, 0.05)
    parts = [rng.permutation(p)[: round(s * count)] for p, s in zip(pools, shares, strict=True)]
    rows = rng.permutation(np.concatenate(parts))
    target_pool = table.mixtures[table.pool]
    for used in range(1, count + 1):
        free = np.setdiff1d(np.arange(len(table.values)), rows[:used])
        began = time.process_time()
        knowledge = know(table.study, table.history(list(rows[:used])))
        next(suggest(knowledge, table.cells([]), table.cells(free), table.costs, target_pool, 0))
        knowledge.merit(target_pool).argmin()
        seconds.append(time.process_time() - began)
    is_search = np.array([_searched_at(used) == used for used in range(1, count + 1)])
    return {
        name: {
            "count": int(part.sum()),
            "median": np.median(np.array(seconds)[part]),
            "most": np.quantile(np.array(seconds)[part], 0.9),
            "max": np.max(np.array(seconds)[part]),
        }
        for name, part in (("searching", is_search), ("others", ~is_search))
    }


KINDS = {
    "ours": our_fit,
    "SingleTaskGP": lambda count: botorch_fit(count, "SingleTaskGP"),
    "MultiTaskGP": lambda count: botorch_fit(count, "MultiTaskGP"),
    "memory": memory,
    "many": many,
    "asks": asks,
}
FITS = [("ours", count) for count in FIT_RUNS] + [("SingleTaskGP", count) for count in FIT_RUNS]
FITS += [("MultiTaskGP", count) for count in FIT_RUNS[:-1]]
JOBS = [*FITS, ("memory", HELD), ("many", MANY), ("asks", ASKS)]


def in_own_process(job):
    """What one measurement says; nothing where it took more than two minutes of a processor."""
    kind, count = job
    command = [sys.executable, "-m", "benchmarks.replay_costs", kind, str(count)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == -signal.SIGXCPU:
        return None
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 10))
    print(json.dumps(KINDS[sys.argv[1]](int(sys.argv[2]))))
