"""The project's Gaussian process on the cells of one table, brought up to date run by run.

Scores over cost buy hundreds of cheap runs, and 140 replays of that would take hours if every
answer conditioned on all runs anew. So cells are known by their row in the table, covariances over
mixtures are computed once per search for hyperparameters, and a run adds one row to the whitened
covariances. Hyperparameters are searched for at the runs at which the service would, beyond 100
runs more rarely, and from the last ones on. Runs are not checked for outliers.
"""

import numpy as np
from scipy.linalg import solve_triangular

from mixwright.bayesopt.kernel import features, over_mixtures, prior_mean
from mixwright.bayesopt.model import fit
from mixwright.bayesopt.observing import gather

_ALWAYS, _GROWTH = 8, 1.15  # as in mixwright.bayesopt.learning
_MANY, _GROWTH_OF_MANY = 100, 1.5


class CellBelief:
    """A belief whose "mixtures" are rows of the table, `(q, 1)`; see `mixwright.bayesopt.belief`.

    Its columns are the cells, and after them their mixtures at the target.
    """

    def __init__(self, table):
        self.table, self.used, self.hyper, self.structure = table, [], None, None
        self.target = table.target
        self.searched = 0
        count = len(table.values)
        self.column_fidelity = np.concatenate([table.fidelity, np.full(count, table.target)])
        self.column_row = np.concatenate([np.arange(count)] * 2)
        self.columns = np.arange(2 * count)
        self.store = np.empty((count, 2 * count))  # whitened covariances of runs with columns

    @property
    def ran(self):
        return self.table.fidelity[self.used]

    def observe(self, row):
        """Take in one run."""
        self.used.append(row)
        evidence = gather(self.table.study, self.table.history(self.used))
        is_new = type(evidence.structure) is not type(self.structure)
        growth = _GROWTH if len(self.used) <= _MANY else _GROWTH_OF_MANY
        if is_new or len(self.used) <= _ALWAYS or len(self.used) >= growth * self.searched:
            self._search(evidence, None if is_new else self.hyper)
        else:
            self._add(row)

    def _search(self, evidence, start):
        posterior = fit(evidence.of_sum(np.ones(1)), evidence.structure, start)
        self.searched, self.hyper = len(self.used), posterior.hyperparameters
        self.structure = evidence.structure
        self.location, self.unit = posterior.location, posterior.unit
        rooted = features(self.table.mixtures)
        self.over = over_mixtures(self.hyper, rooted, rooted)
        both = rooted[self.column_row]
        self.prior_mean = prior_mean(self.hyper, both, self.column_fidelity, self.target)
        prior = self._prior(np.array(self.used), self.columns)
        known = solve_triangular(posterior.factor, prior, lower=True)
        self.store[: len(known)] = known
        self.outcomes = posterior.whitened
        self.standard_mean = self.prior_mean + self.outcomes @ known
        signal = np.diag(self.hyper.signal)[self.column_fidelity]
        own = np.diag(self.structure.means)[self.column_fidelity]
        own = own + self.hyper.roughness * self.hyper.noises[self.column_fidelity]
        variance = signal * np.diag(self.over)[self.column_row] + own
        self.left = np.maximum(variance - np.sum(known**2, axis=0), 1e-12)

    def _add(self, row):
        fidelity = self.table.fidelity[row]
        count = len(self.outcomes)
        known = self.store[:count, row]
        std = np.sqrt(self.left[row] + self._luck(fidelity))
        prior = self._prior(np.array([row]), self.columns)[0]
        new = (prior - known @ self.store[:count]) / std
        standard = (self.table.values[row] - self.location[fidelity]) / self.unit
        outcome = (standard - self.prior_mean[row] - known @ self.outcomes) / std
        self.store[count] = new
        self.outcomes = np.append(self.outcomes, outcome)
        self.standard_mean += outcome * new
        self.left = np.maximum(self.left - new**2, 1e-12)

    def _prior(self, left, right):
        pairs = np.ix_(self.column_fidelity[left], self.column_fidelity[right])
        over = self.over[np.ix_(self.column_row[left], self.column_row[right])]
        prior = self.hyper.signal[pairs] * over + self.structure.means[pairs]
        is_one = self.column_row[left][:, None] == self.column_row[right]
        is_one &= self.column_fidelity[left][:, None] == self.column_fidelity[right]
        own = self.hyper.roughness * self.hyper.noises[self.column_fidelity[left]]
        return prior + is_one * own[:, None]

    def _luck(self, fidelity):
        return (1.0 - self.hyper.roughness) * self.hyper.noises[fidelity]

    def _columns(self, cells, fidelity):
        rows = cells[:, 0].astype(np.int64)
        is_own = self.table.fidelity[rows] == fidelity
        return np.where(is_own, rows, rows + len(self.table.values))

    def mean(self, cells, fidelity):
        columns = self._columns(cells, fidelity)
        return self.location[fidelity] + self.unit * self.standard_mean[columns]

    def variance(self, cells, fidelity):
        return self.unit**2 * self.left[self._columns(cells, fidelity)]

    def covariance(self, left, left_fidelity, right, right_fidelity):
        one, other = self._columns(left, left_fidelity), self._columns(right, right_fidelity)
        store = self.store[: len(self.outcomes)]
        known = store[:, one].T @ store[:, other]
        return self.unit**2 * (self._prior(one, other) - known)

    def noise(self, fidelity):
        return self.unit**2 * self._luck(fidelity)
