"""RegMix's notebook done again, to its digits, with the leak it has.

LightGBM stops early on the very test set that is then reported. That is what the published figures
are, so it is done so here and nowhere else.
"""

import lightgbm
import numpy as np
from scipy.stats import spearmanr

from benchmarks.regmix_tables import load
from benchmarks.tables import Section, versions

PRINTED = (
    99.60,
    99.71,
    99.08,
    99.45,
    97.20,
    99.77,
    99.73,
    99.18,
    98.92,
    96.87,
    98.51,
    99.19,
    99.12,
)
PRINTED_OPTIMUM = {"pile_cc": 0.8909, "ubuntu_irc": 0.0614, "pubmed_abstracts": 0.0123}
PARAMETERS = {
    "task": "train",
    "boosting_type": "gbdt",
    "objective": "regression",
    "metric": ["l1", "l2"],
    "num_iterations": 1000,
    "seed": 42,
    "learning_rate": 0.01,
    "verbosity": -1,
}


def fit_leaking(train, test, metric):
    """LightGBM on one metric, stopped early on the test set."""
    return lightgbm.train(
        dict(PARAMETERS),
        lightgbm.Dataset(train.mixtures, train.losses[:, metric]),
        valid_sets=[lightgbm.Dataset(test.mixtures, test.losses[:, metric])],
        callbacks=[lightgbm.early_stopping(stopping_rounds=3, verbose=False)],
    )


def simulate(model, prior):
    """The mean of the 128 best of 100,000 draws of Dirichlet(prior), by the notebook's seed."""
    np.random.seed(42)
    samples = np.random.dirichlet(prior, 100_000)
    return samples[np.argsort(model.predict(samples), kind="stable")[:128]].mean(axis=0)


def reproduce(tables, metrics=None):
    """Spearman in percent by metric, and the optimum for Pile-CC by domain."""
    train, test = tables.runs["train-1m"], tables.runs["test-1m"]
    found, optimum = {}, {}
    for index, name in enumerate(tables.metrics):
        if metrics is not None and name not in metrics:
            continue
        model = fit_leaking(train, test, index)
        predicted = model.predict(test.mixtures, num_iteration=model.best_iteration)
        found[name] = 100 * spearmanr(predicted, test.losses[:, index])[0]
        if name == "loss/pile_cc":
            optimum = dict(zip(tables.domains, simulate(model, tables.prior), strict=True))
    return found, optimum


def sections():
    """The section of docs/benchmarks.md."""
    found, optimum = reproduce(load())
    rows = [
        (name, f"{printed:.2f}", f"{ours:.2f}")
        for (name, ours), printed in zip(found.items(), PRINTED, strict=True)
    ]
    rows += [
        (f"optimum, {domain}", f"{printed:.4f}", f"{optimum[domain]:.4f}")
        for domain, printed in PRINTED_OPTIMUM.items()
    ]
    return [
        Section(
            "RegMix's notebook, reproduced",
            "Spearman in percent on the 256 held-out runs of 1M parameters, with the notebook's "
            "early stopping on those same runs; then the optimum for Pile-CC by its simulation.",
            ("what", "notebook", "here"),
            rows,
            versions("lightgbm", "numpy") + ".",
        )
    ]
