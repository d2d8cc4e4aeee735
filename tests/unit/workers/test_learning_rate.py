import dataclasses

import pytest

from workers.learning_rate import multiplier
from workers.order import OptimizerOrder

OPTIMIZER = OptimizerOrder(0.01, "wsd", 0.1, 0.2, 0.1, 0.9, 0.95, 1.0, 8)


def rates(schedule, steps=100, **changes):
    optimizer = dataclasses.replace(OPTIMIZER, schedule=schedule, **changes)
    return [multiplier(optimizer, step, steps) for step in range(steps)]


@pytest.mark.parametrize("schedule", ["wsd", "cosine", "linear", "constant"])
def test_every_schedule_warms_up_to_the_peak_and_never_exceeds_it(schedule):
    found = rates(schedule)
    assert found[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(found) == found[10] == 1.0
    assert min(found) > 0


def test_ends():
    assert rates("constant")[-1] == 1.0
    assert rates("wsd")[79:81] == [1.0, 1.0]
    assert rates("wsd")[-1] == pytest.approx(1 / 20)
    assert rates("linear")[55] == pytest.approx(0.5)
    assert rates("linear")[-1] == pytest.approx(1 / 90)
    assert rates("cosine")[55] == pytest.approx(0.55)
    assert rates("cosine")[-1] == pytest.approx(0.1, abs=1e-3)


def test_no_warm_up_and_no_decay_are_possible():
    assert rates("wsd", warmup=0.0, decay=0.0) == [1.0] * 100
    assert rates("linear", steps=1, warmup=1.0) == [1.0]
