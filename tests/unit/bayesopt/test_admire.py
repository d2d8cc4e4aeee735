import warnings
from dataclasses import replace

import numpy as np
import pytest

from mixwright.bayesopt.admire import recommend, suggest
from mixwright.bayesopt.choosing import Cells
from mixwright.bayesopt.observations import Observations
from mixwright.errors import InvalidInputError

torch = pytest.importorskip("torch")
pytest.importorskip("botorch")

COSTS = {1: np.array([2.0]), 3: np.array([0.02, 0.4, 2.0])}  # the target's is the last
NOTHING = Observations.of(np.empty((0, 3)), np.empty(0, dtype=int), np.empty(0))


def world(fidelities=3, runs=1, pool=20):
    """Runs of every fidelity, and the mixtures of the target's pool at each."""
    rng = np.random.default_rng(0)
    mixtures, target_pool = rng.dirichlet(np.ones(3), runs), rng.dirichlet(np.ones(3), pool)
    fidelity = np.arange(runs) % fidelities
    values = 3 + 0.2 * fidelity + np.sqrt(mixtures) @ [0.5, -0.3, 0.1] + rng.normal(0, 0.01, runs)
    cells = Cells(np.tile(target_pool, (fidelities, 1)), np.repeat(np.arange(fidelities), pool))
    return Observations.of(mixtures, fidelity, values), cells, COSTS[fidelities], target_pool


@pytest.mark.parametrize("fidelities", [1, 3])
@pytest.mark.parametrize("runs", [1, 4])
def test_answers_are_within_range(fidelities, runs):
    observations, cells, costs, pool = world(fidelities, runs)
    suggested = suggest(observations, cells, costs, fidelities - 1, pool, 0)
    recommended = recommend(observations, costs, fidelities - 1, pool, 0)
    assert 0 <= suggested < len(cells.fidelity)
    assert 0 <= recommended < len(pool)


def test_the_first_run_is_a_random_one_of_the_cheapest_fidelity_left():
    _, cells, costs, pool = world()
    first = [suggest(NOTHING, cells, costs, 2, pool, seed) for seed in range(20)]
    assert set(cells.fidelity[first]) == {0}
    assert len(set(first)) > 5
    dearer = Cells(cells.mixtures[len(pool) :], cells.fidelity[len(pool) :])
    assert dearer.fidelity[suggest(NOTHING, dearer, costs, 2, pool, 0)] == 1


@pytest.mark.slow
def test_equal_seeds_give_equal_answers_whatever_was_drawn_before():
    observations, cells, costs, pool = world()
    tries = []
    for already in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(already)
            tries.append([suggest(observations, cells, costs, 2, pool, s) for s in range(6)])
    assert tries[0] == tries[1]
    assert len(set(tries[0])) > 1  # the seed is used


def test_nothing_global_is_touched():
    observations, cells, costs, pool = world()
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    filters = list(warnings.filters)
    suggest(observations, cells, costs, 2, pool, 3)
    recommend(observations, costs, 2, pool, 3)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], before_numpy)
    assert warnings.filters == filters
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("runs", [1, 4])
def test_the_recommendation_is_what_would_be_run_next_at_the_target(runs):
    observations, _, costs, pool = world(runs=runs)
    at_target = Cells(pool, np.full(len(pool), 2))
    suggested = suggest(observations, at_target, costs, 2, pool, 0)
    assert recommend(observations, costs, 2, pool, 0) == suggested


def test_many_cells_are_judged_as_few_are():
    observations, cells, costs, pool = world(runs=4)
    repeated = Cells(np.tile(cells.mixtures, (5, 1)), np.tile(cells.fidelity, 5))
    few, many = (suggest(observations, some, costs, 2, pool, 0) for some in (cells, repeated))
    assert many % len(cells.fidelity) == few


def test_a_cell_of_the_last_chunk_can_be_chosen():
    observations, _, costs, pool = world(runs=4)
    best = recommend(observations, costs, 2, pool, 0)
    others = np.tile(np.delete(pool, best, axis=0), (8, 1))
    cells = Cells(np.vstack([others, pool[best]]), np.full(len(others) + 1, 2))
    assert suggest(observations, cells, costs, 2, pool, 0) == len(others)


def test_only_shares_of_the_targets_cost_matter():
    observations, cells, costs, pool = world(fidelities=1, runs=4)
    expected = recommend(observations, costs, 0, pool, 0)
    assert recommend(observations, 0.01 * costs, 0, pool, 0) == expected
    assert suggest(observations, cells, 0.01 * costs, 0, pool, 0) == expected


def test_outcomes_are_not_standardised():
    observations, _, costs, pool = world(runs=4)
    small = replace(observations, values=1e-3 * observations.values)  # below the noise's floor
    one, other = (recommend(some, costs, 2, pool, 0) for some in (observations, small))
    assert one != other


def test_nearly_free_runs_are_preferred():
    observations, cells, _, pool = world(runs=4)
    nearly_free = np.array([1e-6, 0.5, 1.0])
    assert cells.fidelity[suggest(observations, cells, nearly_free, 2, pool, 0)] == 0


def test_lower_outcomes_are_sought():
    mixtures = np.array([[0.9, 0.1], [0.6, 0.4], [0.4, 0.6], [0.1, 0.9]])
    runs = Observations.of(mixtures, np.zeros(4, dtype=int), np.array([4.0, 3.0, 2.0, 1.0]))
    pool = np.array([[0.95, 0.05], [0.05, 0.95]])
    assert recommend(runs, np.array([1.0]), 0, pool, 0) == 1


def test_it_needs_cells_to_choose_from_and_runs_to_learn_from():
    observations, _, costs, pool = world()
    no_cells = Cells(np.empty((0, 3)), np.empty(0, dtype=int))
    with pytest.raises(InvalidInputError, match="no cell"):
        suggest(observations, no_cells, costs, 2, pool, 0)
    with pytest.raises(InvalidInputError, match="no runs"):
        recommend(NOTHING, costs, 2, pool, 0)
