"""CLIMB's rounds against one round of as many runs, replayed on RegMix's published ones.

The 512 published runs of the 1M model are both the candidates and the answers. One-shot search
takes runs at random, the first of which are CLIMB's first round; both fit the same predictor at the
end and recommend the run that it predicts to be the best.
"""

import numpy as np

from benchmarks.regmix_tables import load
from benchmarks.tables import Section, machine, versions
from mixwright.quality.climb import choose, rank, split_budget

SEEDS = range(20)
BUDGETS = (112, 35)
MEAN = "mean of losses"


def climb(mixtures, values, budget, seed):
    """The row recommended after CLIMB's rounds."""
    first, *rounds = split_budget(budget)
    used = shuffled(values, seed)[:first]
    for count in rounds:
        free = np.setdiff1d(np.arange(len(values)), used)
        rows = choose(mixtures[used], values[used], mixtures[free], count, seed)
        used = np.append(used, free[rows[:count]])
    return best_predicted(mixtures, values, used, seed)


def one_shot(mixtures, values, budget, seed):
    """The row recommended after one round."""
    return best_predicted(mixtures, values, shuffled(values, seed)[:budget], seed)


def shuffled(values, seed):
    return np.random.default_rng(seed).permutation(len(values))


def best_predicted(mixtures, values, used, seed):
    return int(rank(mixtures[used], values[used], mixtures, seed)[0])


def regrets(mixtures, values, budget):
    """Of both searches, shape (seeds, 2): 0 is the best run, 1 an average one."""
    found = [
        [search(mixtures, values, budget, seed) for search in (climb, one_shot)] for seed in SEEDS
    ]
    return (values[np.array(found)] - values.min()) / (values.mean() - values.min())


def outcomes(tables):
    """The mean of all losses, and every second loss: all of them would take twice the time."""
    losses = tables.runs["train-1m"].losses
    names = [name.removeprefix("loss/") for name in tables.metrics]
    return {MEAN: losses.mean(axis=1), **dict(zip(names[::2], losses.T[::2], strict=True))}


def row(budget, name, found):
    """Mean regrets of both, and by how much CLIMB's is lower."""
    gain = found[:, 1] - found[:, 0]
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    return (
        budget,
        name,
        *(f"{one:.4f}" for one in found.mean(axis=0)),
        f"{gain.mean():.4f} ± {error:.4f}",
    )


def sections():
    """The section of docs/benchmarks.md."""
    tables = load().normalised()
    mixtures, rows = tables.runs["train-1m"].mixtures, []
    for budget in BUDGETS:
        found = {name: regrets(mixtures, y, budget) for name, y in outcomes(tables).items()}
        rows += [row(budget, name, one) for name, one in found.items()]
        rows.append(row(budget, "**all**", np.mean(list(found.values()), axis=0)))
    return [
        Section(
            "CLIMB against one-shot search",
            f"RegMix's 512 runs of 1M parameters as a pool, {len(SEEDS)} seeds; the mean of the "
            "losses and every second of the 13. CLIMB spends its budget in rounds, "
            f"{' or '.join(' + '.join(map(str, split_budget(b))) for b in BUDGETS)} runs, one-shot "
            "search at once on random runs; both recommend what the same predictor says. Regret: 0 "
            "is the best run of the pool, 1 an average one. The gain has the standard error over "
            "seeds. Goal: lower mean regret.",
            ("runs", "outcome", "CLIMB", "one shot", "gain of CLIMB"),
            rows,
            f"Machine: {machine()}; {versions('numpy', 'lightgbm')}.",
        )
    ]
