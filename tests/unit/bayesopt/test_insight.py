import numpy as np
import pytest

from mixwright.bayesopt.aims import Aim, Wanted
from mixwright.bayesopt.insight import regret_of
from mixwright.bayesopt.knowing import know
from mixwright.bayesopt.observing import History
from mixwright.study import CompletedRuns, Domain, Fidelity, Metric, Study

STUDY = Study(
    domains=tuple(Domain(name, None, 1 / 3) for name in ("web", "code", "math")),
    metrics=(Metric("loss/web"), Metric("loss/code")),
    objective=np.array([0.5, 0.5]),
    fidelities=(Fidelity("1b", cost=1.0),),
    target_fidelity="1b",
)
POOL = np.random.default_rng(3).dirichlet(np.ones(3), 20)


def knowledge(wanted):
    rng = np.random.default_rng(0)
    mixtures = rng.dirichlet(np.ones(3), 16)
    values = np.stack([-mixtures[:, 0], 3.0 * mixtures[:, 0] - mixtures[:, 1]], axis=1)
    values += 0.05 * rng.normal(size=values.shape)
    runs = CompletedRuns(
        mixtures=mixtures,
        values=values,
        fidelity=np.array(["1b"] * 16),
        ids=tuple(f"run_{index}" for index in range(16)),
    )
    return know(STUDY, History(runs), Aim(wanted))


@pytest.mark.parametrize("wanted", list(Wanted)[:2])
def test_draws_are_spread_about_what_is_expected(wanted):
    known = knowledge(wanted)
    draws = known.draws(POOL, 4_000, seed=1)
    assert draws.shape == (4_000, 20)
    error = np.abs(draws.mean(axis=0) - known.merit(POOL))  # the worst of means is not the mean
    assert np.all(error < (0.1 if known.goal is None else 1.0) * draws.std(axis=0))


def test_the_regret_of_a_goal_is_that_of_the_goal():
    known = knowledge(Wanted.WORST_CASE)
    merit = known.merit(POOL)
    best, worst = POOL[merit.argmin()], POOL[merit.argmax()]
    low, high = (regret_of(known, one, POOL, seed=2).mean for one in (best, worst))
    assert low < 0.2 * high
    np.testing.assert_allclose(high - low, merit.max() - merit.min(), rtol=0.2)
