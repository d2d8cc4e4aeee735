import csv
from pathlib import Path

import pytest

from mixwright.errors import InvalidInputError
from mixwright.importers import Level, import_regmix
from mixwright.importers.regmix import PILE_PRIOR

PUBLISHED = Path(__file__).parents[4] / "shared" / "data" / "regmix"
published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason=f"RegMix's published tables are not at {PUBLISHED}"
)

FILES = {
    "train_mixture_1m.csv": "index,train_the_pile_arxiv,train_the_pile_github\n"
    "1,0.25,0.75\n2,0.5,0.5\n",
    "train_pile_loss_1m.csv": "index,metric/the_pile_arxiv_val_loss\n2,5.5\n1,4.5\n",
    "test_mixture_1B.csv": "index,train_the_pile_github,train_the_pile_arxiv\n0,0.9,0.1\n",
    "test_pile_loss_1B.csv": "index,metric/the_pile_arxiv_val_loss\n0,1.5\n",
}


@pytest.fixture
def load(tmp_path):
    def load(**changes):
        files = {**FILES, **{name.replace("__", "."): text for name, text in changes.items()}}
        for name, text in files.items():
            if text is not None:
                (tmp_path / name).write_text(text)
        return import_regmix(tmp_path, "pile")

    return load


def test_runs_are_joined_by_index_and_named_by_split_scale_and_index(load):
    table = load()

    assert [run["external_id"] for run in table.runs] == [
        "regmix-train-1m-0001",
        "regmix-train-1m-0002",
        "regmix-test-1b-0000",
    ]
    assert [run["metrics"] for run in table.runs] == [
        {"loss/arxiv": 4.5},
        {"loss/arxiv": 5.5},
        {"loss/arxiv": 1.5},
    ]
    assert table.runs[2]["weights"] == {"arxiv": 0.1, "github": 0.9}
    assert table.runs[2]["metadata"] == {"split": "test", "index": "0"}


def test_the_largest_scale_is_the_target_and_costs_one(load):
    table = load()

    assert table.study["fidelities"] == [
        {"name": "1m", "cost": 4e-5, "parameters": 1e6, "tokens": 1e9},
        {"name": "1b", "cost": 1.0, "parameters": 1e9, "tokens": 2.5e10},
    ]
    assert table.study["target_fidelity"] == "1b"
    assert [run["cost"] for run in table.runs] == [4e-5, 4e-5, 1.0]


def test_without_the_billion_the_target_is_what_there_is(load):
    table = load(test_mixture_1B__csv=None, test_pile_loss_1B__csv=None)

    assert (
        table.study["target_fidelity"],
        [run["cost"] for run in table.runs],
    ) == ("1m", [1.0, 1.0])


def test_other_domains_than_the_17_have_no_prior(load):
    table = load()

    assert table.study["domains"] == [{"name": "arxiv"}, {"name": "github"}]
    assert [i.level for i in table.issues if "uniform" in i.message] == [Level.INFO]


def test_a_mixture_file_without_its_losses_is_left_out_with_a_warning(load):
    table = load(test_pile_loss_1B__csv=None)

    assert len(table.runs) == 2
    (warning,) = [i for i in table.issues if i.level is Level.WARNING]
    assert (
        warning.file,
        warning.message,
    ) == ("test_mixture_1B.csv", "test_pile_loss_1B.csv is not there")


def test_an_unknown_scale_is_left_out_with_a_warning(load):
    table = load(train_mixture_9q__csv="index,train_the_pile_arxiv\n1,1\n")

    assert [i.file for i in table.issues if i.level is Level.WARNING] == ["train_mixture_9q.csv"]


def test_columns_of_another_kind_are_dropped_and_reported(load):
    table = load(
        train_mixture_1m__csv="index,wandb,train_the_pile_arxiv,train_the_pile_github\n1,x,0.5,0.5\n"
    )

    assert table.dropped_columns == {"train_mixture_1m.csv": ("wandb",)}


def test_own_domains_lose_only_the_parts_that_regmix_adds(load):
    table = load(
        test_mixture_1B__csv=None,
        train_mixture_1m__csv="index,train_mine_web,train_mine_code\n1,0.5,0.5\n",
        train_pile_loss_1m__csv="index,metric/mine_web_val_loss\n1,3.5\n",
    )

    assert table.runs[0]["weights"] == {"mine_web": 0.5, "mine_code": 0.5}
    assert table.runs[0]["metrics"] == {"loss/mine_web": 3.5}


def test_files_that_disagree_on_the_domains_are_refused(load):
    with pytest.raises(InvalidInputError, match=r"differ in the domains github, gitlab"):
        load(test_mixture_1B__csv=("index,train_the_pile_gitlab,train_the_pile_arxiv\n0,0.9,0.1\n"))


def test_a_file_without_index_is_refused(load):
    with pytest.raises(InvalidInputError, match=r"train_pile_loss_1m\.csv has no column 'index'"):
        load(train_pile_loss_1m__csv="run,metric/the_pile_arxiv_val_loss\n1,4.5\n")


def test_a_file_without_losses_is_refused(load):
    with pytest.raises(InvalidInputError, match=r"train_pile_loss_1m\.csv has no column like"):
        load(train_pile_loss_1m__csv="index,loss\n1,4.5\n")


def test_a_folder_without_a_pair_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="holds no pair of files"):
        import_regmix(tmp_path, "pile")


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="is not a folder"):
        import_regmix(tmp_path / "nowhere", "pile")


def test_a_bad_cell_is_named(load):
    table = load(train_mixture_1m__csv=FILES["train_mixture_1m.csv"].replace("0.75", "x"))

    (issue,) = table.errors
    assert (
        issue.file,
        issue.row,
        issue.column,
    ) == ("train_mixture_1m.csv", 2, "train_the_pile_github")


def test_the_published_prior_sums_to_one():
    assert len(PILE_PRIOR) == 17
    assert pytest.approx(sum(PILE_PRIOR.values()), abs=1e-8) == 1


def test_the_17_domains_have_the_published_prior_normalised(load):
    header = ",".join(f"train_the_pile_{domain}" for domain in PILE_PRIOR)

    table = load(
        test_mixture_1B__csv=None,
        train_mixture_1m__csv=f"index,{header}\n1,1{',0' * 16}\n",
    )

    priors = {domain["name"]: domain["prior"] for domain in table.study["domains"]}
    assert priors == pytest.approx(PILE_PRIOR, rel=1e-7)
    assert sum(priors.values()) == pytest.approx(1, abs=1e-15)


@published
def test_the_published_tables_come_in_whole():
    table = import_regmix(PUBLISHED, "pile")

    assert table.can_be_committed
    assert len(table.runs) == 512 + 256 + 256 + 64
    assert table.dropped_columns == {}
    assert (len(table.study["domains"]), len(table.study["metrics"])) == (17, 13)
    assert pytest.approx(table.largest_sum_error) == 0.004
    assert pytest.approx(sum(domain["prior"] for domain in table.study["domains"]), abs=1e-12) == 1
    assert len(table.runs) == len({run["external_id"] for run in table.runs})


@published
def test_a_published_run_keeps_its_digits():
    table = import_regmix(PUBLISHED, "pile")
    with (PUBLISHED / "test_pile_loss_60m.csv").open() as file:
        expected = next(row for row in csv.DictReader(file) if row["index"] == "97")

    run = next(run for run in table.runs if run["external_id"] == "regmix-test-60m-0097")

    assert float(expected["metric/the_pile_pile_cc_val_loss"]) == run["metrics"]["loss/pile_cc"]
