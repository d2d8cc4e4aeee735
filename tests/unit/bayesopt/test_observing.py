from dataclasses import replace

import numpy as np
import pytest

from mixwright.bayesopt.fidelities import OneFactor, OverScale
from mixwright.bayesopt.learning import learn
from mixwright.bayesopt.observing import History, Point, costs_of, gather, target_of
from mixwright.errors import InvalidInputError
from mixwright.study import CompletedRuns, Direction, Domain, Fidelity, Metric, Study

SMALL = Fidelity("small", 0.1, parameters=1e7, tokens=2e8)
LARGE = Fidelity("large", 2.0, parameters=1e9, tokens=2e10)
STUDY = Study(
    domains=(Domain("a", None, 0.5), Domain("b", None, 0.5)),
    metrics=(Metric("loss"), Metric("accuracy", Direction.MAXIMIZE), Metric("spare")),
    objective=np.array([1.0, 0.5, 0.0]),
    fidelities=(SMALL, LARGE),
    target_fidelity="large",
)
MIXTURES = np.array([[0.5, 0.5], [0.1, 0.9], [0.8, 0.2]])
VALUES = np.array([[2.0, 0.6, np.nan], [2.1, np.nan, 1.0], [1.0, 0.2, 1.0]])


def runs(fidelity=("large", "small", "small"), values=VALUES):
    return CompletedRuns(MIXTURES, values, np.array(fidelity), ("x", "y", "z"))


def point(tokens, *metrics):
    return Point(tokens, np.array(metrics, dtype=float))


def test_metrics_are_oriented_and_runs_without_one_are_left_out_for_it_alone():
    evidence = gather(STUDY, History(runs()))
    np.testing.assert_array_equal(
        evidence.metrics, [[2.0, -0.6, np.nan], [2.1, np.nan, 1.0], [1.0, -0.2, 1.0]]
    )
    loss, accuracy, spare = (evidence.of_metric(column) for column in range(3))
    np.testing.assert_array_equal(loss.values, [2.0, 2.1, 1.0])
    np.testing.assert_array_equal(accuracy.values, [-0.6, -0.2])
    np.testing.assert_array_equal(accuracy.mixtures, MIXTURES[[0, 2]])
    assert accuracy.fidelity.tolist() == [1, 0]
    assert accuracy.run.tolist() == [0, 2]
    assert accuracy.noisiness.tolist() == [1.0, 1.0]
    assert spare.run.tolist() == [1, 2]


def test_a_sum_needs_the_metrics_that_count_in_it():
    evidence = gather(STUDY, History(runs()))
    found = evidence.of_sum(STUDY.objective)
    np.testing.assert_allclose(found.values, [2.0 - 0.3, 1.0 - 0.1])
    assert found.run.tolist() == [0, 2]
    assert found.fidelity.tolist() == [1, 0]
    tripled = evidence.of_sum(np.array([3.0, 0.0, 0.0])).values
    np.testing.assert_allclose(tripled, [6.0, 6.3, 3.0])


def test_an_infinite_metric_is_a_missing_one():
    values = VALUES.copy()
    values[0, 0] = np.inf
    assert gather(STUDY, History(runs(values=values))).of_metric(0).run.tolist() == [1, 2]


def test_where_every_fidelity_was_run_each_stands_for_itself():
    evidence = gather(STUDY, History(runs()))
    assert evidence.structure == OneFactor(2, 1)
    assert evidence.fidelity.tolist() == [1, 0, 0]
    assert evidence.run.tolist() == [0, 1, 2]


def of_scales(*ran):
    """Return the structure of a study of four scales after runs at some of them."""
    smaller = [Fidelity(str(n), parameters=10.0**n, tokens=2 * 10.0 ** (n + 1)) for n in (5, 6, 7)]
    study = replace(STUDY, fidelities=(*smaller, LARGE))
    return gather(study, History(runs(ran))).structure


def test_a_target_without_a_run_is_reached_by_laws_that_three_scales_show():
    structure = of_scales("7", "5", "6")
    assert isinstance(structure, OverScale)
    np.testing.assert_allclose(structure.decades[:, 0], [-4.0, -3.0, -2.0, 0.0])
    assert structure.target == 3


@pytest.mark.parametrize("ran", [("5", "6", "6"), ("5", "6", "large")])
def test_where_there_is_no_law_to_see_or_no_need_each_scale_stands_for_itself(ran):
    assert of_scales(*ran) == OneFactor(4, 3)


@pytest.mark.parametrize(
    "small",
    [
        replace(SMALL, tokens=None),
        replace(SMALL, parameters=None),
        replace(SMALL, parameters=LARGE.parameters, tokens=LARGE.tokens),
    ],
)
def test_without_scales_that_tell_them_apart_fidelities_stand_for_themselves(small):
    study = replace(STUDY, fidelities=(small, LARGE))
    evidence = gather(study, History(runs(("small",) * 3)))
    assert evidence.structure == OneFactor(2, 1)
    with pytest.raises(InvalidInputError, match="parameters and tokens") as raised:
        gather(study, History(runs(), {"x": [point(1e10, 3, 0.1, 1)]}))
    assert raised.value.field == "fidelities"


def test_before_any_run_there_is_nothing_but_fidelities():
    nothing = CompletedRuns(np.empty((0, 2)), np.empty((0, 3)), np.array([], dtype=str), ())
    evidence = gather(STUDY, History(nothing))
    assert evidence.metrics.shape == (0, 3)
    assert evidence.structure == OneFactor(2, 1)


def test_points_of_loss_curves_are_further_fidelities_of_their_run():
    curves = {
        "x": [point(1e9, 9, 0, 9), point(5.1e9, 3, 0.2, 5), point(1e10, 2.5, 0.4, 4)],
        "z": [point(1e8, 1.4, 0.1, np.nan)],
        "unknown": [point(1e8, 7, 7, 7)],
    }
    evidence = gather(STUDY, History(runs(), curves))
    assert evidence.run.tolist() == [0, 0, 0, 1, 2, 2]
    assert evidence.fidelity.tolist() == [1, 4, 5, 0, 0, 3]
    np.testing.assert_array_equal(evidence.mixtures, MIXTURES[evidence.run])
    np.testing.assert_array_equal(evidence.metrics[1], [3, -0.2, 5])
    np.testing.assert_array_equal(evidence.metrics[2], [2.5, -0.4, 4])
    np.testing.assert_array_equal(evidence.metrics[5], [1.4, -0.1, np.nan])
    decades = evidence.structure.decades
    np.testing.assert_allclose(decades[:2], [[-2, -2], [0, 0]])
    half, quarter = np.log10(0.5), np.log10(0.25)
    np.testing.assert_allclose(
        decades[2:], [[-2, -2 + quarter], [-2, -2 + half], [0, quarter], [0, half]]
    )
    assert evidence.structure.target == 1
    assert evidence.of_metric(2).run.tolist() == [0, 0, 1, 2]


def test_a_point_has_to_be_near_its_stage_and_the_nearest_is_taken():
    curves = {"x": [point(8e9, 1, 1, 1), point(9.2e9, 2, 2, 2), point(1.05e10, 3, 3, 3)]}
    curves["z"] = [point(1.15e8, 4, 4, 4), point(0.85e8, 4, 4, 4)]
    evidence = gather(STUDY, History(runs(), curves))
    assert evidence.fidelity.tolist() == [1, 5, 0, 0]
    assert evidence.metrics[1].tolist() == [3, -3, 3]


def test_runs_that_come_later_are_put_after_the_points_of_earlier_ones():
    """So hyperparameters, which are searched on the first of them, stay what they were."""
    curves = {name: [point(5e9, 3, 0.2, 5), point(5e7, 3, 0.2, 5)] for name in "xyz"}
    every = gather(STUDY, History(runs(), curves))
    two = CompletedRuns(MIXTURES[:2], VALUES[:2], np.array(["large", "small"]), ("x", "y"))
    before = gather(STUDY, History(two, curves))
    for name in ("metrics", "mixtures", "fidelity", "run"):
        whole, part = getattr(every, name), getattr(before, name)
        np.testing.assert_array_equal(whole[: len(part)], part)
    assert len(every.run) == len(before.run) + 2


def test_points_of_loss_curves_make_the_model_surer_of_the_target():
    """Half-way losses rank mixtures almost as final ones do."""
    rng = np.random.default_rng(0)
    mixtures = rng.dirichlet(np.ones(2), 10)
    loss = 2.0 + np.sqrt(mixtures) @ [0.3, -0.2] + 0.002 * rng.normal(size=10)
    values = np.column_stack([loss, np.full(10, 0.5), loss])
    few = CompletedRuns(
        mixtures, values, np.repeat(["small", "large"], [7, 3]), tuple("abcdefghij")
    )
    curves = {
        name: [Point(0.5 * tokens, values[row] + [0.4, 0.0, 0.4])]
        for row, (name, tokens) in enumerate(zip(few.ids, [2e8] * 7 + [2e10] * 3, strict=True))
    }
    evidence = gather(STUDY, History(few, curves))
    observations = evidence.of_metric(0)
    learned = learn(observations, evidence.structure).posterior
    assert len(learned.ran) == 20
    assert learned.hyperparameters.common > 0
    new = rng.dirichlet(np.ones(2), 20)
    found = learned.mean(new, np.full(20, target_of(STUDY)))
    assert np.corrcoef(found, np.sqrt(new) @ [0.3, -0.2])[0, 1] > 0.9


def test_costs_are_in_target_runs_and_one_where_nothing_is_said():
    assert costs_of(STUDY).tolist() == [0.05, 1.0]
    assert target_of(STUDY) == 1
    silent = replace(STUDY, fidelities=(replace(SMALL, cost=None), replace(LARGE, cost=None)))
    assert costs_of(silent).tolist() == [1.0, 1.0]
    half = replace(STUDY, fidelities=(replace(SMALL, cost=None), LARGE), target_fidelity="small")
    assert costs_of(half).tolist() == [1.0, 2.0]


def test_points_of_loss_curves_are_nothing_to_the_recipe_of_admire():
    pytest.importorskip("botorch")
    from mixwright.bayesopt.admire import suggest
    from mixwright.bayesopt.choosing import Cells

    curves = {name: [point(5e9, 3, 0.2, 5), point(5e7, 3, 0.2, 5)] for name in "xyz"}
    cells = Cells(np.vstack([MIXTURES, MIXTURES[:, ::-1]]), np.repeat([0, 1], 3))
    found = [
        suggest(gather(STUDY, history).of_metric(0), cells, costs_of(STUDY), 1, MIXTURES, 0)
        for history in (History(runs()), History(runs(), curves))
    ]
    assert found[0] == found[1]
