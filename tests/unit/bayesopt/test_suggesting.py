import numpy as np
import pytest

from mixwright.bayesopt.choosing import Cells
from mixwright.bayesopt.model import Observations, fit
from mixwright.bayesopt.suggesting import candidates, costs_of, observe, suggest, target_of
from mixwright.constraints import compile_constraints
from mixwright.polytope import is_feasible
from mixwright.study import CompletedRuns, Direction, Domain, Fidelity, Metric, Repetition, Study

STUDY = Study(
    domains=(Domain("a", 30.0, 1 / 3), Domain("b", 9.0, 1 / 3), Domain("c", 99.0, 1 / 3)),
    metrics=(Metric("loss"), Metric("accuracy", Direction.MAXIMIZE), Metric("spare")),
    objective=np.array([1.0, 0.5, 0.0]),
    fidelities=(Fidelity("small", 0.1), Fidelity("large", 2.0)),
    target_fidelity="large",
    repetition=Repetition(target_tokens=100.0, max_epochs=4.0),
)
NOTHING = Cells(np.empty((0, 3)), np.empty(0, dtype=int))


def make_runs(count=30, seed=0):
    rng = np.random.default_rng(seed)
    mixtures = rng.dirichlet(np.ones(3), count)
    fidelity = np.arange(count) % 5 // 4
    values = mixtures @ np.array([1.0, 0.2, 0.6]) + 0.01 * rng.normal(size=count) + fidelity
    return Observations(mixtures, fidelity, values)


def grid(count=40, seed=9):
    pool = np.random.default_rng(seed).dirichlet(np.ones(3), count)
    return Cells(np.vstack([pool, pool]), np.repeat([0, 1], count)), pool


def test_the_objective_is_oriented_and_runs_without_it_are_left_out():
    runs = CompletedRuns(
        mixtures=np.full((3, 3), 1 / 3),
        values=np.array([[2.0, 0.6, np.nan], [2.0, np.nan, 1.0], [1.0, 0.2, 1.0]]),
        fidelity=np.array(["large", "small", "small"]),
        ids=("x", "y", "z"),
    )
    found = observe(STUDY, runs)
    np.testing.assert_allclose(found.values, [2.0 - 0.3, 1.0 - 0.1])
    assert found.fidelity.tolist() == [1, 0]
    assert costs_of(STUDY).tolist() == [0.05, 1.0]
    assert target_of(STUDY) == 1


def test_candidates_satisfy_the_constraints():
    polytope = compile_constraints(STUDY)
    found = candidates(polytope, fit(make_runs(), 2, 1), seed=1)
    assert is_feasible(polytope, found).all()
    assert found[:, 1].max() <= 0.36 + 1e-9
    assert len(np.unique(found, axis=0)) == len(found) > 400


def test_a_batch_is_of_different_cells_and_its_beginning_is_the_single_choice():
    cells, pool = grid()
    costs = np.array([0.05, 1.0])
    one = suggest(make_runs(), NOTHING, cells, costs, 1, pool, 1, seed=3)
    eight = suggest(make_runs(), NOTHING, cells, costs, 1, pool, 8, seed=3)
    assert eight[0] == one[0]
    assert len({one.index for one in eight}) == 8
    assert all(one.gain >= 0 for one in eight)


def test_what_is_under_way_is_not_asked_for_again():
    cells, pool = grid()
    costs = np.array([0.05, 1.0])
    first = suggest(make_runs(), NOTHING, cells, costs, 1, pool, 4, seed=3)
    rows = [one.index for one in first]
    pending = Cells(cells.mixtures[rows], cells.fidelity[rows])
    following = suggest(make_runs(), pending, cells, costs, 1, pool, 1, seed=7)[0]
    assert following.index not in rows
    assert following.gain <= first[0].gain


def test_before_any_run_has_ended_the_cheapest_fidelity_is_begun_with():
    cells, pool = grid()
    nothing = Observations(np.empty((0, 3)), np.empty(0, dtype=int), np.empty(0))
    found = suggest(nothing, NOTHING, cells, np.array([0.05, 1.0]), 1, pool, 3, seed=1)
    assert all(cells.fidelity[one.index] == 0 for one in found)
    assert [one.gain for one in found] == [None] * 3
    held = Cells(pool[:2], np.zeros(2, dtype=int))
    other = suggest(nothing, held, cells, np.array([0.05, 1.0]), 1, pool, 3, seed=1)
    assert [one.index for one in other] != [one.index for one in found]


def test_fewer_cells_than_asked_for_are_all_given():
    cells, pool = grid(3)
    found = suggest(make_runs(), NOTHING, cells, np.array([0.05, 1.0]), 1, pool, 99, seed=1)
    assert sorted(one.index for one in found) == list(range(6))


def test_one_fidelity_is_enough():
    observations = make_runs()
    only = Observations(observations.mixtures, 0 * observations.fidelity, observations.values)
    pool = grid()[1]
    cells = Cells(pool, np.zeros(len(pool), dtype=int))
    assert suggest(only, NOTHING, cells, np.array([1.0]), 0, pool, 1, seed=0)[0].gain >= 0


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_the_best_corner_of_a_made_up_world(seed):
    """The best mixture is all of the second domain: the loop gets there from three runs."""
    cells, pool = grid(60, seed)
    worth = np.array([1.0, 0.2, 0.6])

    def outcome(index):
        return float(cells.mixtures[index] @ worth + cells.fidelity[index])

    used = [0, 1, 2]
    costs = np.array([0.05, 1.0])
    for _ in range(12):
        seen = Observations(
            cells.mixtures[used], cells.fidelity[used], np.array([outcome(i) for i in used])
        )
        free = np.setdiff1d(np.arange(120), used)
        left = Cells(cells.mixtures[free], cells.fidelity[free])
        used.append(int(free[suggest(seen, NOTHING, left, costs, 1, pool, 1, seed)[0].index]))
    posterior = fit(seen, 2, 1)
    found = pool[posterior.mean(pool, np.ones(60, dtype=int)).argmin()]
    assert found @ worth <= np.sort(pool @ worth)[2]
