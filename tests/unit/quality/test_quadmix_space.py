from dataclasses import fields

import numpy as np
import pytest
from geometry_cases import SEEDS
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright.errors import InvalidInputError
from mixwright.quality.implied import expected_shares
from mixwright.quality.parameters import Parameters
from mixwright.quality.quadmix import space_of

READINGS = st.sampled_from(["linear", "log"])


def test_the_papers_space_has_182_numbers():
    space = space_of([f"d{i}" for i in range(26)], ["askllm", "edu", "dclm"])
    assert space.size == len(space.names) == len(set(space.names)) == 182
    assert space.names[:3] == ("d0/alpha/askllm", "d0/alpha/edu", "d0/alpha/dclm")
    assert space.names[-4:] == ("d25/lambda", "d25/omega", "d25/eta", "d25/epsilon")


@settings(deadline=None)
@given(seed=SEEDS, reading=READINGS)
def test_what_is_drawn_is_valid_and_survives_a_round_trip(seed, reading):
    space = space_of(["web", "code", "math"], ["edu", "dclm"], reading)
    for vector in space.sample(5, np.random.default_rng(seed)):
        space.check(vector)
        np.testing.assert_allclose(space.encode(space.decode(vector)), vector, rtol=1e-14)
        assert list(space.describe(vector)) == list(space.names)


def test_names_say_what_a_number_is():
    space = space_of(["web", "code"], ["edu", "dclm"])
    theta = Parameters(
        np.array([[0.2, 0.8], [0.4, 0.6]]),
        np.array([10.0, 20.0]),
        np.array([0.01, 0.02]),
        np.array([0.3, 0.4]),
        np.array([1e-4, 2e-4]),
    )
    told = space.describe(space.encode(theta))
    assert told["code/alpha/dclm"] == 0.6
    assert (told["web/lambda"], told["code/omega"]) == (10.0, 0.02)
    assert (told["web/eta"], told["code/epsilon"]) == (0.3, 2e-4)
    again = space.decode(space.encode(theta))
    for one in fields(theta):
        np.testing.assert_array_equal(getattr(again, one.name), getattr(theta, one.name))


def test_draws_do_not_depend_on_how_many_are_drawn_together():
    space = space_of(["web", "code"], ["edu"])
    rng = np.random.default_rng(0)
    parts = np.vstack([space.sample(3, rng), space.sample(4, rng)])
    np.testing.assert_array_equal(parts, space.sample(7, np.random.default_rng(0)))


def test_the_readings_of_lambda_differ_in_lambda_alone():
    draws = [
        space_of(["web"], ["edu"], reading).sample(20_000, np.random.default_rng(0))
        for reading in ("linear", "log")
    ]
    np.testing.assert_array_equal(np.delete(draws[0], 1, axis=1), np.delete(draws[1], 1, axis=1))
    np.testing.assert_allclose(np.median(draws[0][:, 1]), 500, rtol=0.05)
    np.testing.assert_allclose(np.median(draws[1][:, 1]), 1000**0.5, rtol=0.05)


@pytest.mark.parametrize(
    ("name", "value"),
    [("web/lambda", 1001.0), ("code/omega", 0.11), ("web/epsilon", 0.002), ("code/eta", 1.1)],
)
def test_outside_of_what_is_drawn(name, value):
    space = space_of(["web", "code"], ["edu"])
    vector = space.sample(1, np.random.default_rng(0))[0]
    vector[space.names.index(name)] = value
    domain, number = name.split("/")
    with pytest.raises(InvalidInputError, match=f"{number} of domain '{domain}'"):
        space.check(vector)


def test_log_steepness_begins_at_one():
    vector = np.array([1.0, 0.5, 0.05, 0.5, 0.0])
    space_of(["web"], ["edu"]).check(vector)
    with pytest.raises(InvalidInputError, match="lambda"):
        space_of(["web"], ["edu"], "log").check(vector)


@pytest.mark.parametrize("vector", [np.zeros(4), np.zeros((1, 5)), np.full(5, np.nan), np.zeros(5)])
def test_what_is_no_vector_is_refused(vector):
    with pytest.raises(InvalidInputError):
        space_of(["web"], ["edu"]).decode(vector)


@pytest.mark.parametrize(
    ("domains", "raters", "reading"),
    [([], ["a"], "linear"), (["a"], [], "linear"), (["a", "a"], ["b"], "log"), (["a"], ["b"], "x")],
)
def test_what_is_no_space_is_refused(domains, raters, reading):
    with pytest.raises(InvalidInputError):
        space_of(domains, raters, reading)


def test_expected_tokens_are_those_of_each_domain():
    space = space_of(["web", "code"], ["edu"])
    vectors = space.sample(6, np.random.default_rng(0))
    tokens = space.expected_tokens(vectors, np.array([1e9, 1e6]))
    for vector, row in zip(vectors, tokens, strict=True):
        scalars = space.decode(vector).scalars.values()
        np.testing.assert_allclose(row, expected_shares(*scalars) * [1e9, 1e6])
