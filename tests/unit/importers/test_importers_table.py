import random

import pytest

from mixwright.errors import InvalidInputError
from mixwright.importers import Level, TableOptions, import_table

TABLE = """\
id,w:web,w:code,m:loss/web,m:loss/code
a,0.7,0.3,3.1,2.4
b,0.2,0.8,3.6,1.9
c,0.5,0.5,3.3,2.1
"""
WEIGHTS = "run,web,code\na,0.7,0.3\nb,0.2,0.8\nc,0.5,0.5\n"
METRICS = "run,loss/web,loss/code\na,3.1,2.4\nb,3.6,1.9\nc,3.3,2.1\n"


@pytest.fixture
def load(tmp_path):
    def load(*contents, **options):
        paths = []
        for name, content in zip(("runs.csv", "metrics.csv"), contents, strict=False):
            paths.append(tmp_path / name)
            paths[-1].write_bytes(content.encode())
        return import_table(paths, "mine", TableOptions(**options))

    return load


def only_error(table):
    (issue,) = table.errors
    assert not table.can_be_committed
    return issue


def test_one_file_becomes_a_study_and_its_runs(load):
    table = load(TABLE)

    assert table.study == {
        "name": "mine",
        "domains": [{"name": "web"}, {"name": "code"}],
        "metrics": [
            {"name": "loss/web", "direction": "minimize"},
            {"name": "loss/code", "direction": "minimize"},
        ],
        "fidelities": [{"name": "proxy"}],
        "target_fidelity": "proxy",
    }
    assert table.runs[0] == {
        "external_id": "a",
        "fidelity": "proxy",
        "weights": {"web": 0.7, "code": 0.3},
        "metrics": {"loss/web": 3.1, "loss/code": 2.4},
        "metadata": {},
    }
    assert [run["external_id"] for run in table.runs] == ["a", "b", "c"]
    assert table.can_be_committed


def test_two_files_say_the_same_as_one(load):
    assert load(TABLE).runs == load(WEIGHTS, METRICS).runs


def test_rows_are_joined_by_id_however_they_are_shuffled(load):
    header, *rows = METRICS.splitlines()
    rows.reverse()

    assert load(WEIGHTS, METRICS).runs == load(WEIGHTS, "\n".join([header, *rows])).runs


def test_columns_may_come_in_any_order(load):
    lines = [line.split(",") for line in TABLE.splitlines()]
    order = [3, 1, 0, 4, 2]

    table = load("\n".join(",".join(line[i] for i in order) for line in lines))

    assert load(TABLE).runs == table.runs


def test_byte_order_mark_semicolons_and_decimal_commas_change_nothing(load):
    european = "\ufeff" + TABLE.replace(",", ";").replace(".", ",")

    assert load(TABLE).runs == load(european).runs


def test_a_missing_id_is_an_error_with_file_and_row(load):
    issue = only_error(load(TABLE.replace("b,0.2", ",0.2")))

    assert (issue.file, issue.row, issue.column) == ("runs.csv", 3, "id")


def test_a_repeated_id_is_an_error_that_names_both_rows(load):
    issue = only_error(load(TABLE.replace("c,0.5", "a,0.5")))

    assert (issue.file, issue.row) == ("runs.csv", 4)
    assert "line 2" in issue.message


def test_text_in_a_metric_is_an_error_with_file_row_column_and_value(load):
    issue = only_error(load(WEIGHTS, METRICS.replace("1.9", "diverged")))

    assert (issue.file, issue.row, issue.column) == ("metrics.csv", 3, "loss/code")
    assert "'diverged'" in issue.message


def test_text_in_a_weight_is_an_error_with_file_row_column_and_value(load):
    issue = only_error(load(TABLE.replace("0.8", "most")))

    assert (issue.file, issue.row, issue.column) == ("runs.csv", 3, "w:code")
    assert "'most'" in issue.message


@pytest.mark.parametrize("value", ["nan", "inf", "1e999"])
def test_a_metric_that_is_not_finite_is_an_error(load, value):
    assert repr(value) in only_error(load(TABLE.replace("1.9", value))).message


def test_an_empty_weight_is_an_error(load):
    assert only_error(load(TABLE.replace("0.8", ""))).column == "w:code"


def test_a_negative_weight_is_an_error(load):
    issue = only_error(load(TABLE.replace("b,0.2,0.8", "b,-0.2,1.2")))

    assert (issue.row, issue.column, issue.message) == (3, "w:web", "weight -0.2 is negative")


def test_an_empty_metric_is_missing_and_counted(load):
    table = load(TABLE.replace("1.9", ""))

    assert table.runs[1]["metrics"] == {"loss/web": 3.6}
    assert table.can_be_committed
    assert any("'loss/code' is missing in 1 of 3 runs" in i.message for i in table.issues)


def test_a_metric_that_no_run_has_is_left_out_with_a_warning(load):
    table = load("id,w:web,w:code,m:x,m:y\na,0.7,0.3,1,\nb,0.2,0.8,2,\n")

    assert [metric["name"] for metric in table.study["metrics"]] == ["x"]
    assert [i.level for i in table.issues if "'y'" in i.message] == [Level.WARNING]


def test_a_run_without_any_metric_is_left_out_with_a_warning(load):
    table = load(TABLE.replace("3.6,1.9", ","))

    assert [run["external_id"] for run in table.runs] == ["a", "c"]
    assert (table.issues[0].level, table.issues[0].row) == (Level.WARNING, 3)


@pytest.mark.parametrize(("share", "error"), [("0.303", 0.003), ("0.296", 0.004)])
def test_sums_within_the_tolerance_are_kept_raw_and_reported(load, share, error):
    table = load(TABLE.replace("0.7,0.3", f"0.7,{share}"))

    assert {"web": 0.7, "code": float(share)} == table.runs[0]["weights"]
    assert error == pytest.approx(table.largest_sum_error)
    assert table.can_be_committed
    assert any(f"within {error:g}" in issue.message for issue in table.issues)


def test_a_sum_beyond_the_tolerance_is_an_error_that_says_the_sum(load):
    issue = only_error(load(TABLE.replace("0.7,0.3", "0.7,0.5")))

    assert (issue.file, issue.row) == ("runs.csv", 2)
    assert issue.message == "the weights sum to 1.2"


def test_percentages_are_refused_with_the_remedy(load):
    percent = TABLE.replace("0.7,0.3", "70,30").replace("0.2,0.8", "20,80").replace("0.5", "50")

    table = load(percent)

    assert sum("sum to 100" in issue.message for issue in table.errors) == 3
    assert "divide percentages by 100" in table.errors[0].remedy


def test_rows_without_a_partner_are_left_out_with_a_warning_in_both_directions(load):
    table = load(WEIGHTS.replace("a,", "z,"), METRICS)

    assert [run["external_id"] for run in table.runs] == ["b", "c"]
    warnings = [i for i in table.issues if i.level is Level.WARNING]
    assert [(i.file, i.row) for i in warnings] == [("runs.csv", 2), ("metrics.csv", 2)]
    assert table.can_be_committed


def test_files_that_share_no_id_are_an_error(load):
    table = load(WEIGHTS, METRICS.replace("a,", "1,").replace("b,", "2,").replace("c,", "3,"))

    assert "no id occurs in both files" in table.errors[0].message
    assert table.runs == ()


def test_replicates_are_kept_and_counted(load):
    table = load(TABLE + "d,0.5,0.5,3.4,2.2\n")

    assert len(table.runs) == 4
    assert any("2 runs share their mixture" in issue.message for issue in table.issues)


def test_weights_without_prefix_are_found_as_the_block_that_sums_to_one(load):
    table = load(
        "run,seed,web,code,books,accuracy,loss\n"
        "a,1,0.7,0.3,0.0,0.25,3.1\nb,2,0.2,0.7,0.1,0.5,2.9\nc,3,0.1,0.1,0.8,0.75,3.3\n"
    )

    assert table.runs[0]["weights"] == {"web": 0.7, "code": 0.3, "books": 0.0}
    assert table.runs[0]["metrics"] == {"accuracy": 0.25, "loss": 3.1}
    assert table.runs[0]["metadata"] == {"seed": "1"}
    assert any(
        issue.message == "weights: the rows of 'web', 'code', 'books' sum to 1"
        for issue in table.issues
    )


def test_one_bad_row_does_not_hide_the_weights(load):
    rng = random.Random(0)
    rows = [f"r{i},{w},{1 - w},{rng.random()}" for i in range(20) if (w := i / 32) is not None]
    rows[7] = "r7,0.9,0.9,1.0"

    issue = only_error(load("\n".join(["id,web,code,loss", *rows])))

    assert (issue.row, issue.message) == (9, "the weights sum to 1.8")


def test_weights_that_cannot_be_found_are_refused_with_the_remedy(load):
    with pytest.raises(InvalidInputError, match="common prefix such as 'w:'"):
        load("id,web,code,loss\na,7,3,1.0\n")


def test_a_table_without_numbers_beside_the_weights_is_refused(load):
    with pytest.raises(InvalidInputError, match="no column of numbers is left for the metrics"):
        load("id,web,code,note\na,0.7,0.3,good\n")


@pytest.mark.parametrize("option", ["weights", "metrics"])
def test_a_prefix_that_no_column_has_is_refused(load, option):
    with pytest.raises(InvalidInputError, match="no column starts with 'mix_'"):
        load(TABLE, **{option: "mix_"})


def test_own_prefixes_are_taken_off(load):
    table = load("id,mix_web,mix_code,eval_x\na,0.7,0.3,1\n", weights="mix_", metrics="eval_")

    assert table.runs[0]["weights"] == {"web": 0.7, "code": 0.3}
    assert table.runs[0]["metrics"] == {"x": 1.0}


def test_a_table_without_id_column_is_refused_naming_what_there_is(load):
    with pytest.raises(InvalidInputError, match=r"no id column.*'w:web'") as caught:
        load("w:web,w:code,m:x\n0.7,0.3,1\n")
    assert caught.value.field == "id"


def test_an_id_column_that_is_not_there_is_refused(load):
    with pytest.raises(InvalidInputError, match="no column 'experiment'"):
        load(TABLE, id="experiment")


def test_a_fidelity_column_gives_each_run_its_own(load):
    table = load(
        "id,fidelity,cost,w:web,w:code,m:x\na,1m,0.1,0.7,0.3,1\nb,1b,,0.7,0.3,2\n", target="1b"
    )

    assert [run["fidelity"] for run in table.runs] == ["1m", "1b"]
    assert [run.get("cost") for run in table.runs] == [0.1, None]
    assert table.study["target_fidelity"] == "1b"
    assert not any("share their mixture" in issue.message for issue in table.issues)


def test_several_fidelities_without_a_target_are_an_error(load):
    content = "id,scale,w:web,w:code,m:x\na,1m,0.7,0.3,1\nb,1b,0.7,0.3,2\n"

    assert "1m, 1b" in only_error(load(content, fidelity="scale")).message
    assert "'7b'" in only_error(load(content, fidelity="scale", target="7b")).message


def test_a_constant_fidelity_is_every_runs(load):
    assert {"30m"} == {run["fidelity"] for run in load(TABLE, fidelity="30m").runs}


def test_a_run_without_its_fidelity_is_an_error(load):
    table = load("id,fidelity,w:web,w:code,m:x\na,1m,0.7,0.3,1\nb,,0.7,0.3,2\n", target="1m")

    assert (table.errors[0].row, table.errors[0].column) == (3, "fidelity")


@pytest.mark.parametrize("cost", ["-1", "cheap"])
def test_a_cost_that_is_no_amount_is_an_error(load, cost):
    issue = only_error(load(f"id,cost,w:web,w:code,m:x\na,{cost},0.7,0.3,1\n"))

    assert (issue.file, issue.row, issue.column) == ("runs.csv", 2, "cost")


def test_a_metric_that_looks_like_an_accuracy_is_only_maximised_when_told(load):
    content = "id,w:web,w:code,m:arc_acc\na,0.7,0.3,0.25\n"

    guessed, told = load(content), load(content, maximize=("arc_acc",))

    assert guessed.study["metrics"][0]["direction"] == "minimize"
    assert [i.level for i in guessed.issues if "arc_acc" in i.message] == [Level.WARNING]
    assert told.study["metrics"][0]["direction"] == "maximize"
    assert [i for i in told.issues if i.level is Level.WARNING] == []


def test_maximising_an_unknown_metric_is_an_error(load):
    assert "'arc'" in only_error(load(TABLE, maximize=("arc",))).message


def test_a_column_of_text_is_dropped_and_reported(load):
    table = load("id,web,code,note,loss\na,0.7,0.3,good,1\nb,0.6,0.4,bad,2\n")

    assert table.dropped_columns == {"runs.csv": ("note",)}
    assert table.runs[0]["metrics"] == {"loss": 1.0}


def test_every_bad_cell_is_named_in_one_pass(load):
    table = load(TABLE.replace("0.7", "x").replace("1.9", "y").replace("c,0.5,0.5", "c,0.5,0.9"))

    assert [(i.row, i.column) for i in table.errors] == [(2, "w:web"), (3, "m:loss/code"), (4, "")]


def test_a_table_without_runs_cannot_be_committed(load):
    assert not load("id,w:web,w:code,m:x\n").can_be_committed


def test_errors_come_first_and_the_table_is_json(load):
    table = load(TABLE.replace("c,0.5,0.5", "c,0.5,0.9"))

    body = table.to_json()

    levels = [issue["level"] for issue in body["issues"]]
    assert sorted(levels, key=["error", "warning", "info"].index) == levels
    assert (body["rows_read"], body["rows_kept"]) == ({"runs.csv": 3}, 2)
    assert body["can_be_committed"] is False


@pytest.mark.parametrize("count", [0, 3])
def test_another_number_of_files_is_refused(tmp_path, count):
    with pytest.raises(InvalidInputError, match=f"{count} files"):
        import_table([tmp_path / "x.csv"] * count, "mine")
