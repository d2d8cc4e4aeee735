"""RegMix's published runs as arrays; `MIXWRIGHT_REGMIX` says where they are."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mixwright.importers import import_regmix

FOLDER = Path(
    os.environ.get("MIXWRIGHT_REGMIX", Path(__file__).parents[2] / "shared" / "data" / "regmix")
)


@dataclass(frozen=True)
class Runs:
    """Mixtures (n, 17) and losses (n, 13)."""

    mixtures: np.ndarray
    losses: np.ndarray

    def take(self, rows):
        """The runs in `rows`."""
        return Runs(self.mixtures[rows], self.losses[rows])


@dataclass(frozen=True)
class Tables:
    """The runs by split and fidelity, and the names of what is measured."""

    runs: dict[str, Runs]
    domains: list[str]
    metrics: list[str]
    prior: np.ndarray

    def normalised(self):
        """The same with mixtures that sum to one."""
        runs = {
            name: Runs(part.mixtures / part.mixtures.sum(axis=1, keepdims=True), part.losses)
            for name, part in self.runs.items()
        }
        return replace(self, runs=runs)


def load() -> Tables:
    """Read all tables as published: RegMix's notebook does not normalise rounded mixtures."""
    table = import_regmix(FOLDER, "regmix")
    domains = [domain["name"] for domain in table.study["domains"]]
    metrics = [metric["name"] for metric in table.study["metrics"]]
    groups: dict[str, list[dict]] = {}
    for run in table.runs:
        groups.setdefault(f"{run['metadata']['split']}-{run['fidelity']}", []).append(run)
    runs = {}
    for name, members in groups.items():
        mixtures = np.array([[run["weights"][d] for d in domains] for run in members])
        losses = np.array([[run["metrics"][m] for m in metrics] for run in members])
        runs[name] = Runs(mixtures, losses)
    prior = np.array([domain["prior"] for domain in table.study["domains"]])
    return Tables(runs, domains, metrics, prior)
