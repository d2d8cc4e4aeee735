"""Schedules as trainers read them: whole files, segments, and what later changes leave alone.

After a change that is meant, run `MIXWRIGHT_WRITE_GOLDEN=1 pytest tests/unit/exports` and read the
difference.
"""

import json
import os
from pathlib import Path

import pytest
import yaml

from mixwright.errors import InvalidInputError
from mixwright.exports import EXPORTS, ExportedMixture
from mixwright.exports.canonical import digest
from mixwright.exports.staged import STAGED, export_stages
from mixwright.exports.stages import ExportedSchedule, ExportedStage

GOLDEN = Path(__file__).parents[2] / "golden" / "schedules"
SEQUENCE, BATCH, STEPS, TURN = 4096, 1024, 23_842, 19_072
NAMES = ("web", "code", "math", "wiki")
FIRST = {"web": 0.55, "code": 0.25, "math": 0.12, "wiki": 0.08}
SECOND = {"web": 0.35, "code": 0.35, "math": 0.2, "wiki": 0.1}
PATHS = {"web": "s3://b/web", "code": "s3://b/code", "math": "s3://b/math", "wiki": "s3://b/wiki"}


def stage(name, weights, first, steps, start=None, batch=BATCH):
    start = first * BATCH * SEQUENCE if start is None else start
    end = start + steps * batch * SEQUENCE
    mixture = ExportedMixture(
        mixture_id=name,
        version=1,
        domains=NAMES,
        weights=weights,
        tokens={"web": 900e9, "code": 60e9, "math": 8e9, "wiki": 5e9},
        paths=PATHS,
        token_budget=end - start,
        sequence_length=SEQUENCE,
        seed=42,
    )
    curve = {"start": 1.0, "end": 1.0, "shape": "constant"}
    plan = {"batch_tokens": curve, "learning_rate": curve, "averaging": None}
    return ExportedStage(name, mixture, first, steps, start, end, plan)


def schedule(*stages, identity="sch_01", batches=((0, 0, BATCH * SEQUENCE),)):
    stages = stages or (
        stage("stage1", FIRST, 0, TURN),
        stage("stage2", SECOND, TURN, STEPS - TURN),
    )
    return ExportedSchedule(
        identity,
        stages,
        stages[-1].end_token,
        SEQUENCE,
        batches,
        {"web": 0.0567, "code": 0.45, "math": 1.7, "wiki": 1.68},
        42,
    )


def text(name, of=None):
    (only,) = export_stages(of or schedule(), name).files
    return only.text


@pytest.mark.parametrize("name", STAGED)
def test_the_text_is_the_golden_one(name):
    golden = GOLDEN / f"{name}{Path(STAGED[name].filename).suffix}"
    if os.environ.get("MIXWRIGHT_WRITE_GOLDEN"):
        golden.write_text(text(name))
        pytest.fail(f"wrote {golden}; run again without MIXWRIGHT_WRITE_GOLDEN")
    assert text(name) == golden.read_text()


def test_every_staged_format_is_one_of_a_mixture_too_and_has_a_golden_file():
    assert set(STAGED) < set(EXPORTS)
    assert {path.stem for path in GOLDEN.iterdir()} == set(STAGED)


def test_levanter_gets_steps_and_shares():
    data = yaml.safe_load(text("levanter"))["data"]
    assert data["train_weights"] == [[0, FIRST], [TURN, SECOND]]
    assert TURN * BATCH % data["mixture_block_size"] == 0
    assert list(data["components"]) == list(NAMES)


def test_levanter_begins_stages_at_whole_blocks_and_says_what_it_moved():
    odd = schedule(stage("one", FIRST, 0, 101), stage("two", SECOND, 101, 99))
    result = export_stages(odd, "levanter")
    weights = yaml.safe_load(result.files[0].text)["data"]["train_weights"]
    assert [step for step, _ in weights] == [0, 100]
    assert any("begins at step 100 and not at 101" in one for one in result.warnings)


def test_levanter_counts_blocks_through_a_ramp():
    """Sixteen steps of 128 sequences are a block; a step of 1,024 before them is half of one."""
    ramp = ((0, 0, 1024 * SEQUENCE), (11, 11 * 1024 * SEQUENCE, 128 * SEQUENCE))
    start = 11 * 1024 * SEQUENCE + 29 * 128 * SEQUENCE
    odd = schedule(
        stage("one", FIRST, 0, 40),
        stage("two", SECOND, 40, 30, start, 128),
        batches=ramp,
    )
    weights = yaml.safe_load(text("levanter", odd))["data"]["train_weights"]
    (_, (step, _)) = weights
    assert (11 * 1024 + (step - 11) * 128) % 2048 == 0
    assert abs(step - 40) <= 16


def test_levanter_leaves_a_stage_out_that_fits_in_no_block():
    short = schedule(stage("one", FIRST, 0, 3, None), stage("two", SECOND, 3, 1))
    result = export_stages(short, "levanter")
    assert [row[0] for row in yaml.safe_load(result.files[0].text)["data"]["train_weights"]] == [
        0,
        2,
    ]
    tiny = schedule(stage("one", FIRST, 0, 1), stage("two", SECOND, 1, 1))
    result = export_stages(tiny, "levanter")
    assert any("'two' is left out" in one for one in result.warnings)


def test_llm_foundry_durations_sum_to_the_whole():
    config = yaml.safe_load(text("llm_foundry"))
    callback = config["callbacks"]["curriculum_learning"]
    durations = [callback["duration"], *(one["duration"] for one in callback["schedule"])]
    assert durations == ["79993765888tok", "20006830080tok"]
    assert config["max_duration"] == "100000595968tok"
    (later,) = callback["schedule"]
    assert {n: one["proportion"] for n, one in later["dataset"]["streams"].items()} == SECOND
    assert later["dataset"]["shuffle_seed"] != config["train_loader"]["dataset"]["shuffle_seed"]


def test_nanotron_counts_from_one():
    stages = yaml.safe_load(text("nanotron"))["data_stages"]
    assert [one["start_training_step"] for one in stages] == [1, TURN + 1]
    assert len({one["name"] for one in stages}) == 2
    for one, shares in zip(stages, (FIRST, SECOND), strict=True):
        dataset = one["data"]["dataset"]
        assert dict(zip(dataset["dataset_folder"], dataset["dataset_weights"], strict=True)) == {
            PATHS[name]: share for name, share in shares.items()
        }


def test_the_canonical_form_has_a_digest_of_itself():
    found = json.loads(text("canonical"))
    assert found["sha256"] == digest(found)
    assert [one["start_step"] for one in found["stages"]] == [0, TURN]
    assert found["sha256"] in text("levanter")


def body(name, of):
    """The text without its header, of which nothing is drawn."""
    return "\n".join(line for line in text(name, of).splitlines() if not line.startswith("#"))


LATER = {"web": 0.1, "code": 0.1, "math": 0.7, "wiki": 0.1}


@pytest.mark.parametrize(
    ("name", "until"),
    [
        ("levanter", f"    - [{TURN},"),
        ("llm_foundry", "      - duration: 20006830080tok"),
        ("nanotron", '  - name: "stage2"'),
    ],
)
def test_a_later_change_leaves_what_has_begun_as_it_was(name, until):
    changed = schedule(
        stage("stage1", FIRST, 0, TURN),
        stage("stage2", LATER, TURN, 2_000),
        stage("stage3", SECOND, TURN + 2_000, STEPS - TURN),
        identity="sch_02",
    )
    before, after = body(name, schedule()), body(name, changed)
    assert until in before
    begun = before.split(until)[0]
    assert "web" in begun
    assert after.startswith(begun)
    assert before != after


def test_a_later_stage_with_a_tiny_share_does_not_change_levanters_block():
    tiny = {"web": 0.9996, "code": 0.0002, "math": 0.0001, "wiki": 0.0001}
    changed = schedule(stage("stage1", FIRST, 0, TURN), stage("stage2", tiny, TURN, 4_000))
    result = export_stages(changed, "levanter")
    assert yaml.safe_load(result.files[0].text)["data"]["mixture_block_size"] == 2048
    assert any(
        "'math' gets 0 of 2048 sequences in stage 'stage2'" in one for one in result.warnings
    )


def test_a_new_domain_comes_last_so_that_none_is_reshuffled():
    without = {"web": 0.0, "code": 0.7, "math": 0.2, "wiki": 0.1}
    changed = schedule(stage("stage1", without, 0, TURN), stage("stage2", SECOND, TURN, 4_000))
    components = yaml.safe_load(text("levanter", changed))["data"]["components"]
    assert list(components) == ["code", "math", "wiki", "web"]


@pytest.mark.parametrize("name", sorted(set(EXPORTS) - set(STAGED) - {"huggingface"}))
def test_other_trainers_get_a_file_a_segment_which_later_changes_leave_alone(name):
    result = export_stages(schedule(), name)
    assert len(result.files) == 2
    changed = schedule(
        stage("stage1", FIRST, 0, TURN), stage("stage2", LATER, TURN, 9_000), identity="sch_02"
    )
    again = export_stages(changed, name)
    assert again.files[0] == result.files[0]
    assert again.files[1] != result.files[1]
    second = result.files[1].text
    assert f"checkpoint of step {TURN} (token 79993765888)" in second
    assert "wiki 6399501271" in second


def test_a_unit_or_a_format_that_is_not_taken_is_refused():
    with pytest.raises(InvalidInputError, match="choose one of"):
        export_stages(schedule(), "stone")
    with pytest.raises(InvalidInputError, match="it takes sequence_share"):
        export_stages(schedule(), "levanter", "epochs")
    with pytest.raises(InvalidInputError, match="no step"):
        ExportedSchedule("sch_01", (), 1e9, SEQUENCE, (), {})
