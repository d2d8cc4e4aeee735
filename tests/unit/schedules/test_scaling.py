"""A schedule at another budget: shares, batches against the budget's, rates against the peak."""

import pytest

from mixwright.errors import InvalidInputError
from mixwright.schedules import Budget, Problem, build_planner
from mixwright.schedules.base import Schedule
from mixwright.schedules.scaling import scaled
from mixwright.schedules.selecting import subset_of
from mixwright.schedules.steps import steps_of
from mixwright.schedules.training import require_trainable

TARGET = Budget(1e12, 4096, 4_194_304, 3e-4)
PROXY = Budget(512_000, 64, 1024, 0.01)
PROBLEM = Problem(TARGET, {"web": 0.8, "code": 0.2}, {"web": 1e13, "code": 1e11})


def plan(name, **options):
    return build_planner(name, options).plan(PROBLEM)


@pytest.mark.parametrize("name", ["anneal", "drop_stable_rampup", "upsample_end", "static"])
def test_every_stage_keeps_its_share_batch_and_rate(name):
    whole = plan(name)
    small = scaled(whole, PROXY)
    assert small.budget == PROXY
    assert small.effective_weights == pytest.approx(whole.effective_weights)
    for large, little in zip(whole.stages, small.stages, strict=True):
        assert little.end_token / PROXY.tokens == pytest.approx(large.end_token / TARGET.tokens)
        for share in (0.0, 0.3, 0.99):
            one = large.start_token + share * large.tokens
            other = little.start_token + share * little.tokens
            assert little.batch.at(other) / 1024 == pytest.approx(large.batch.at(one) / 4_194_304)
            assert little.rate.at(other) / 0.01 == pytest.approx(large.rate.at(one) / 3e-4)


def test_a_scaled_ramp_has_as_many_tokens_and_whole_sequences():
    steps = steps_of(scaled(plan("drop_stable_rampup"), PROXY))
    assert steps.tokens == pytest.approx(PROXY.tokens, abs=2 * 1024)
    assert (steps.batch_tokens % 64 == 0).all()
    assert steps.batch_tokens.min() == 256
    assert steps.batch_tokens[0] == 1024


def test_a_scaled_subset_is_repeated_as_often():
    whole = plan("continual", new_weights={"code": 1.0}, share=0.5, subset=0.2, column="edu")
    small = scaled(whole, PROXY).stages[0]
    assert small.selection["subset_tokens"] == pytest.approx(small.tokens / 4)
    found = subset_of(small.selection)
    assert found == {
        name: pytest.approx(count / 4, abs=1) for name, count in small.domain_tokens().items()
    }
    assert small.selection["best_by"] == "edu"


def test_scaling_to_its_own_budget_changes_nothing():
    whole = plan("anneal")
    assert scaled(whole, TARGET) == whole


def test_a_schedule_is_read_from_its_json():
    whole = plan("anneal", average=4)
    read = Schedule.from_json(whole.to_json())
    assert (read.budget, read.stages) == (whole.budget, whole.stages)


def test_a_stage_shorter_than_a_step_is_named():
    small = scaled(plan("upsample_end", share=0.01), Budget(8192, 64, 1024, 0.01))
    with pytest.raises(InvalidInputError, match="stage 'upsampled' are less than a step"):
        require_trainable(small, steps_of(small))
