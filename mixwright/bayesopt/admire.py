"""ADMIRE's own recipe on BoTorch, to compare ours with.

Source:
    ADMIRE-BayesOpt (arXiv:2508.11551), its multi-fidelity script. The script's licence is
    CC BY-NC-SA: this is written from our description of it, and no line of it was copied or seen.

Read off the script [X]:
    a Gaussian process with BoTorch's linear-truncated fidelity kernel (Matérn 5/2, one length scale
    per domain) on raw shares and one constant mean, fitted afresh at every step to outcomes that
    are not standardised; as fidelity, the cost as a share of the target's; max-value entropy with
    one sample, divided by cost, at its largest over every unused cell; one random run of the
    cheapest fidelity to begin with; as recommendation, the target's mixture of largest acquisition.

Our interpretation [I]:
    "one sample" is one draw of the maximum and one fantasy, which BoTorch needs for pending runs
    only; outcomes at a cell keep its default of 128 draws. The maximum is drawn (Gumbel) over the
    target pool and the runs so far, at the target. Cost has no fixed part. Whatever is not named
    is the default of the BoTorch installed, not of the one its authors had: priors, optimiser, and
    that gains below zero are multiplied by cost.

Weaknesses, kept: it recommends what would tell most, not what is best; a floor under the noise of
1e-4 whatever the outcome's unit; one mean for all fidelities; a full fit for every answer.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.bayesopt.choosing import Cells
from mixwright.bayesopt.observations import Observations
from mixwright.errors import FitDidNotConvergeError, InvalidInputError

if TYPE_CHECKING:
    from botorch.acquisition.max_value_entropy_search import qMultiFidelityMaxValueEntropy
    from botorch.models.gp_regression_fidelity import SingleTaskMultiFidelityGP
    from torch import Tensor

_CELLS_AT_ONCE = 128  # each has its own copy of the runs: bounds memory


def suggest(
    observations: Observations,
    cells: Cells,
    costs: FloatArray,
    target: int,
    target_pool: FloatArray,
    seed: int,
) -> int:
    """Return the index of the cell to run next.

    Args:
        observations: runs that have ended; if there are none, the cell is a random one of the
            cheapest fidelity.
        cells: what may be run.
        costs: of a run at each fidelity, shape `(F,)`, positive.
        target: index of the target fidelity.
        target_pool: mixtures among which the best at the target is wanted, `(p, k)`.
        seed: equal seeds and arguments give equal answers.

    Raises:
        InvalidInputError: no cell is left.
        FitDidNotConvergeError: BoTorch gave up.
    """
    if not len(cells.fidelity):
        raise InvalidInputError("no cell is left to run")
    if not len(observations.values):
        of_cell = costs[cells.fidelity]
        cheapest = np.flatnonzero(of_cell == of_cell.min())
        return int(np.random.default_rng(seed).choice(cheapest))
    shares = costs / costs[target]
    with _silent_and_seeded(seed):
        acquisition = _acquisition(observations, shares, target_pool)
        inputs = _inputs(cells.mixtures, shares[cells.fidelity])
        return int(_values(acquisition, inputs).argmax())


def recommend(
    observations: Observations,
    costs: FloatArray,
    target: int,
    target_pool: FloatArray,
    seed: int,
) -> int:
    """Return which of `target_pool` `(p, k)` has the largest acquisition at the target.

    Args:
        observations: runs that have ended, at least one.
        costs: of a run at each fidelity, shape `(F,)`, positive.
        target: index of the target fidelity.
        target_pool: mixtures to choose from, `(p, k)`.
        seed: equal seeds and arguments give equal answers.

    Raises:
        InvalidInputError: no runs.
        FitDidNotConvergeError: BoTorch gave up.
    """
    if not len(observations.values):
        raise InvalidInputError("there are no runs to learn from")
    with _silent_and_seeded(seed):
        acquisition = _acquisition(observations, costs / costs[target], target_pool)
        return int(_values(acquisition, _at_target(target_pool)).argmax())


@contextmanager
def _silent_and_seeded(seed: int) -> Iterator[None]:
    """Draw from a generator of one's own, without warnings of jitter or of fits tried again.

    The generator is seeded itself: `torch.manual_seed` would also seed those of accelerators,
    which nothing restores.
    """
    import torch

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(seed)
        yield


def _acquisition(
    observations: Observations, shares: FloatArray, target_pool: FloatArray
) -> "qMultiFidelityMaxValueEntropy":
    """Return max-value entropy per cost, a function of `(q, 1, k + 1)` inputs."""
    from botorch.acquisition.cost_aware import InverseCostWeightedUtility
    from botorch.acquisition.max_value_entropy_search import qMultiFidelityMaxValueEntropy
    from botorch.acquisition.utils import project_to_target_fidelity
    from botorch.models.cost import AffineFidelityCostModel

    share = target_pool.shape[1]  # the column after the weights
    cost = AffineFidelityCostModel(fidelity_weights={share: 1.0}, fixed_cost=0.0)
    return qMultiFidelityMaxValueEntropy(
        _fit(observations, shares),
        candidate_set=_at_target(target_pool),
        num_fantasies=1,
        num_mv_samples=1,
        cost_aware_utility=InverseCostWeightedUtility(cost),
        project=partial(project_to_target_fidelity, target_fidelities={share: 1.0}, d=share + 1),
    )


def _fit(observations: Observations, shares: FloatArray) -> "SingleTaskMultiFidelityGP":
    """Return the process given the runs, turned so that higher is better.

    Raises:
        FitDidNotConvergeError: every attempt of BoTorch's failed.
    """
    import torch
    from botorch.exceptions.errors import ModelFittingError
    from botorch.fit import fit_gpytorch_mll
    from botorch.models.gp_regression_fidelity import SingleTaskMultiFidelityGP
    from gpytorch.mlls import ExactMarginalLogLikelihood

    observations = observations.take(np.flatnonzero(observations.fidelity < len(shares)))
    process = SingleTaskMultiFidelityGP(
        _inputs(observations.mixtures, shares[observations.fidelity]),
        torch.tensor(-observations.values[:, None]),
        data_fidelities=[observations.mixtures.shape[1]],
        outcome_transform=None,
    )
    try:
        fit_gpytorch_mll(ExactMarginalLogLikelihood(process.likelihood, process))
    except ModelFittingError as error:
        raise FitDidNotConvergeError(f"BoTorch's multi-fidelity process: {error}") from error
    return process


def _values(acquisition: "qMultiFidelityMaxValueEntropy", inputs: "Tensor") -> FloatArray:
    """Return the acquisition at `inputs` `(q, k + 1)`."""
    import torch

    with torch.no_grad():
        parts = [acquisition(some[:, None]) for some in torch.split(inputs, _CELLS_AT_ONCE)]
    values: FloatArray = torch.cat(parts).numpy()
    return values


def _at_target(mixtures: FloatArray) -> "Tensor":
    return _inputs(mixtures, np.ones(len(mixtures)))


def _inputs(mixtures: FloatArray, shares: FloatArray) -> "Tensor":
    """Return weights and, last, the cost as a share of the target's, `(q, k + 1)`."""
    import torch

    return torch.tensor(np.column_stack([mixtures, shares]), dtype=torch.float64)
