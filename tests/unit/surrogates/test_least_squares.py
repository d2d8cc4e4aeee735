import numpy as np
import pytest

from mixwright.surrogates.least_squares import inverse_normal, solve_batch

TIMES = np.linspace(0, 2, 30)


class Decays:
    """Curves a · exp(-b t), one problem each."""

    def __init__(self, truth):
        self.observed = np.array([a * np.exp(-b * TIMES) for a, b in truth])

    def __call__(self, parameters, problems):
        a, b = parameters[:, :1], parameters[:, 1:]
        with np.errstate(over="ignore", invalid="ignore"):
            powers = np.exp(-b * TIMES)
            jacobian = np.stack([powers, -a * TIMES * powers], axis=-1)
            return a * powers - self.observed[problems], jacobian


def test_every_problem_of_a_batch_reaches_its_own_solution():
    truth = np.column_stack([np.linspace(0.5, 3, 40), np.linspace(0.1, 2, 40)])
    solution = solve_batch(Decays(truth), np.ones((40, 2)))
    np.testing.assert_allclose(truth, solution.parameters, rtol=1e-6)
    assert solution.converged.all()


def test_a_problem_is_solved_the_same_whatever_else_is_in_the_batch():
    truth = np.column_stack([np.linspace(0.5, 3, 40), np.linspace(0.1, 2, 40)])
    together = solve_batch(Decays(truth), np.ones((40, 2)))
    alone = solve_batch(Decays(truth[17:18]), np.ones((1, 2)))
    np.testing.assert_allclose(alone.parameters[0], together.parameters[17], rtol=1e-9)


def test_linear_problems_give_the_textbook_solution():
    design = np.random.default_rng(0).normal(size=(20, 3))
    target = np.random.default_rng(1).normal(size=20)

    def residuals(parameters, problems):
        return parameters @ design.T - target, np.broadcast_to(design, (len(problems), 20, 3))

    solution = solve_batch(residuals, np.zeros((1, 3)))
    expected = np.linalg.lstsq(design, target, rcond=None)[0]
    np.testing.assert_allclose(expected, solution.parameters[0], rtol=1e-6)
    np.testing.assert_allclose(
        np.linalg.inv(design.T @ design), inverse_normal(design[None])[0], rtol=1e-9
    )


def test_a_start_that_is_not_finite_is_reported_and_harms_no_other():
    solution = solve_batch(Decays([(1.0, 0.5)] * 2), np.array([[1.0, -1e4], [2.0, 1.0]]))
    assert solution.cost[0] == np.inf
    assert not solution.converged[0]
    np.testing.assert_allclose([1.0, 0.5], solution.parameters[1], rtol=1e-6)


@pytest.mark.parametrize("max_steps", [1, 3])
def test_running_out_of_steps_is_not_called_convergence(max_steps):
    solution = solve_batch(Decays([(3.0, 2.0)]), np.ones((1, 2)), max_steps=max_steps)
    assert not solution.converged[0]
