from itertools import islice

import numpy as np
import pytest

from mixwright.bayesopt.choosing import Cells
from mixwright.bayesopt.fidelities import OneFactor
from mixwright.bayesopt.knowing import Knowledge
from mixwright.bayesopt.learning import learn
from mixwright.bayesopt.observations import Observations
from mixwright.bayesopt.recipes import Recipe
from mixwright.bayesopt.suggesting import candidates, pool_of, suggest
from mixwright.constraints import compile_constraints
from mixwright.polytope import is_feasible
from mixwright.study import Direction, Domain, Fidelity, Metric, Repetition, Study

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
    return Observations.of(mixtures, fidelity, values)


def known(observations=None, fidelities=2):
    runs = make_runs() if observations is None else observations
    posterior = learn(runs, OneFactor(fidelities, fidelities - 1)).posterior
    return Knowledge(posterior, None, (), ())


def first(count, knowledge, pending, cells, pool, seed, **more):
    costs = np.array([0.05, 1.0])[-len(np.unique(cells.fidelity)) :]
    return list(islice(suggest(knowledge, pending, cells, costs, pool, seed, **more), count))


def grid(count=40, seed=9):
    pool = np.random.default_rng(seed).dirichlet(np.ones(3), count)
    return Cells(np.vstack([pool, pool]), np.repeat([0, 1], count)), pool


def test_candidates_satisfy_the_constraints():
    polytope = compile_constraints(STUDY)
    found = candidates(polytope, known(), seed=1)
    assert is_feasible(polytope, found).all()
    assert found[:, 1].max() <= 0.36 + 1e-9
    assert len(np.unique(found, axis=0)) == len(found) > 400


def test_candidates_come_nearer_and_nearer_to_the_best():
    knowledge = known()
    found = candidates(compile_constraints(STUDY), knowledge, seed=1)
    best = found[knowledge.merit(found).argmin()]
    blind = candidates(compile_constraints(STUDY), None, seed=1)
    assert knowledge.merit(best[None]) <= knowledge.merit(blind).min()
    assert np.sum(np.abs(found - best).max(axis=1) < 0.05) > 20


def test_a_large_pool_is_looked_at_by_its_best_and_others():
    knowledge, pool = known(), np.random.default_rng(0).dirichlet(np.ones(3), 3000)
    found = pool_of(knowledge, pool, seed=2)
    assert len(found) < 400
    assert knowledge.merit(found).min() == knowledge.merit(pool).min()
    np.testing.assert_array_equal(found, pool_of(knowledge, pool[::-1], seed=2))


def test_a_batch_is_of_different_cells_and_its_beginning_is_the_single_choice():
    cells, pool = grid()
    one = first(1, known(), NOTHING, cells, pool, seed=3)
    eight = first(8, known(), NOTHING, cells, pool, seed=3)
    assert eight[0].index == one[0].index
    assert len({one.index for one in eight}) == 8
    assert all(one.gain >= 0 for one in eight)


def test_what_is_under_way_teaches_nothing_a_second_time():
    cells, pool = grid()
    knowledge = known(make_runs(20))  # with more there is nothing left to learn
    before = first(4, knowledge, NOTHING, cells, pool, seed=3)
    rows = [one.index for one in before]
    pending = Cells(cells.mixtures[rows], cells.fidelity[rows])
    following = first(1, knowledge, pending, cells, pool, seed=7)[0]
    assert following.index not in rows
    assert following.gain < before[0].gain


def test_before_any_run_has_ended_the_cheapest_fidelity_is_begun_with():
    cells, pool = grid()
    found = first(3, None, NOTHING, cells, pool, seed=1)
    assert all(cells.fidelity[one.index] == 0 for one in found)
    assert [one.gain for one in found] == [None] * 3
    held = Cells(pool[:2], np.zeros(2, dtype=int))
    other = first(3, None, held, cells, pool, seed=1)
    assert [one.index for one in other] != [one.index for one in found]


def test_fewer_cells_than_asked_for_are_all_given():
    cells, pool = grid(3)
    found = first(99, known(), NOTHING, cells, pool, seed=1)
    assert sorted(one.index for one in found) == list(range(6))


def test_one_fidelity_is_enough():
    runs = make_runs()
    only = Observations.of(runs.mixtures, 0 * runs.fidelity, runs.values)
    pool = grid()[1]
    cells = Cells(pool, np.zeros(len(pool), dtype=int))
    assert first(1, known(only, 1), NOTHING, cells, pool, seed=0)[0].gain >= 0


@pytest.mark.parametrize(
    "recipe", [recipe for recipe in Recipe if recipe is not Recipe.ADMIRE], ids=str
)
@pytest.mark.parametrize("seed", range(2))
def test_every_recipe_finds_the_best_corner_of_a_made_up_world(recipe, seed):
    """The best mixture is all of the second domain: the loop gets there from three runs."""
    cells, pool = grid(60, seed)
    worth = np.array([1.0, 0.2, 0.6])

    def outcome(index):
        return float(cells.mixtures[index] @ worth + cells.fidelity[index])

    used = [0, 1, 2]
    for _ in range(12):
        seen = Observations.of(
            cells.mixtures[used], cells.fidelity[used], np.array([outcome(i) for i in used])
        )
        free = np.setdiff1d(np.arange(120), used)
        (found,) = first(1, known(seen), NOTHING, cells.take(free), pool, seed, recipe=recipe)
        used.append(int(free[found.index]))
    best = pool[known(seen).merit(pool).argmin()]
    assert best @ worth <= np.sort(pool @ worth)[2]
