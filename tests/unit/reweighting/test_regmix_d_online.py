"""RegMix-D online: stages are chosen by losses."""

import numpy as np
import pytest

from mixwright.errors import InvalidInputError, NotOnSimplexError
from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Observation
from mixwright.reweighting.regmix_d import stages_of
from mixwright.reweighting.told import require

DOMAINS = ("code", "web")
MIXTURES = np.array([[0.1, 0.9], [0.5, 0.5], [0.8, 0.2]])
LOSSES = np.array([[3.0, 4.0], [2.5, 3.0], [1.5, 2.8]])
STAGES = stages_of(DOMAINS, DOMAINS, MIXTURES, LOSSES)


def begin(stages=STAGES, **options):
    reweighter = build_reweighter("regmix_d", {"stages": stages, **options})
    return reweighter, reweighter.init(DOMAINS, np.array([0.5, 0.5]), 0)


def told(*losses, **scores):
    return Observation(1, vectors={"losses": np.array(losses)} if losses else {}, scores=scores)


@pytest.mark.parametrize(
    ("losses", "stage"),
    [((9, 9), 1), ((3.0, 4.0), 1), ((2.7, 3.3), 2), ((2.5, 3.0), 2), ((1.9, 2.9), 3), ((0, 0), 3)],
)
def test_the_stage_whose_predicted_losses_are_nearest_is_chosen(losses, stage):
    reweighter, state = begin()
    found = reweighter.update(state, told(*losses))
    assert found.diagnostics["stage"] == stage
    np.testing.assert_array_equal(found.state.weights, MIXTURES[stage - 1])


def test_it_never_goes_back():
    reweighter, state = begin(ema=1.0)
    stages = []
    for losses in [(3.0, 4.0), (2.5, 3.0), (9.0, 9.0), (1.5, 2.8), (3.0, 4.0)]:
        update = reweighter.update(state, told(*losses))
        state = update.state
        stages.append(update.diagnostics["stage"])
    assert stages == [1, 2, 2, 3, 3]


def test_losses_are_smoothed_and_missing_ones_stay():
    reweighter, state = begin(ema=0.25)
    state = reweighter.update(state, told(4.0, 4.0)).state
    state = reweighter.update(state, told(2.0, np.nan)).state
    assert state.memory["smoothed"] == {"code": 3.5, "web": 4.0}


def test_one_wild_batch_does_not_skip_a_stage():
    reweighter, state = begin()
    for losses in [(3.0, 4.0), (3.0, 4.0), (2.5, 3.0), (3.0, 4.0)]:
        update = reweighter.update(state, told(*losses))
        state = update.state
    assert update.diagnostics["stage"] == 1


def test_a_predicted_objective_is_compared_with_the_score_of_its_name():
    stages = stages_of(DOMAINS, ["objective"], MIXTURES, np.array([[3.0], [2.0], [1.0]]))
    reweighter, state = begin(stages)
    assert "objective" in reweighter.update(state, told(1.0, 1.0)).reason
    assert "objective" in reweighter.update(state, told(objective=None)).reason
    update = reweighter.update(state, told(9.0, 9.0, objective=2.2))
    assert update.diagnostics["stage"] == 2
    require(told(objective=2.2), reweighter.requires)  # as the server asks for it
    with pytest.raises(InvalidInputError, match="losses"):
        require(told(), reweighter.requires)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "needed"),
        ([{**STAGES[0], "losses": {}}], "losses of the same names"),
        ([STAGES[0], {**STAGES[1], "losses": {"web": 3.0}}], "losses of the same names"),
        ([{**STAGES[0], "weights": {"web": 1.0}}], "'code' is missing"),
        ([{**STAGES[0], "weights": {"web": 0.5, "code": 0.3, "art": 0.2}}], "'art' is unknown"),
    ],
)
def test_stages_that_do_not_fit_are_refused(stages, message):
    with pytest.raises(InvalidInputError, match=message) as error:
        begin(stages)
    assert error.value.field == "options/stages"


@pytest.mark.parametrize(
    "stages",
    [
        None,
        {"losses": {}},
        [["losses"]],
        [{"losses": {"web": 1.0}}],
        [{"losses": {"web": "1"}, "weights": {"web": 1.0}}],
        [{"losses": None, "weights": {"web": 1.0}}],
    ],
)
def test_what_is_no_list_of_stages_is_refused(stages):
    with pytest.raises(InvalidInputError, match="option 'stages'"):
        build_reweighter("regmix_d", {"stages": stages})


def test_weights_of_stages_must_be_mixtures():
    with pytest.raises(NotOnSimplexError, match="weights of a mixture sum to"):
        begin([{**STAGES[0], "weights": {"web": 0.5, "code": 0.2}}])
