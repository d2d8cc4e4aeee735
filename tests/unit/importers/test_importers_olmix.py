import pytest

from mixwright.errors import InvalidInputError
from mixwright.importers import Level, import_olmix

# the shape of the published tables: pandas' unnamed index, then run, name, index
RATIOS = """\
,run,name,index,dclm:games,arxiv
0,hz0dfydj,swarm-0000,0,0.25,0.75
1,pj0hxxl7,swarm-0001,1,0.5,0.5
"""
METRICS = """\
,run,name,index,arc_easy:rc::olmes,mbpp:3shot::none
0,pj0hxxl7,swarm-0001,1,1.5,2.5
1,hz0dfydj,swarm-0000,0,1.25,3.5
"""


@pytest.fixture
def load(tmp_path):
    def load(ratios=RATIOS, metrics=METRICS, **options):
        (tmp_path / "ratios.csv").write_text(ratios)
        (tmp_path / "metrics.csv").write_text(metrics)
        return import_olmix(tmp_path / "ratios.csv", tmp_path / "metrics.csv", "swarm", **options)

    return load


def test_rows_in_another_order_are_joined_by_run(load):
    table = load()

    assert table.runs[0] == {
        "external_id": "hz0dfydj",
        "fidelity": "proxy",
        "weights": {"dclm:games": 0.25, "arxiv": 0.75},
        "metrics": {"arc_easy:rc::olmes": 1.25, "mbpp:3shot::none": 3.5},
        "metadata": {"name": "swarm-0000"},
    }
    assert table.runs[1]["metrics"] == {"arc_easy:rc::olmes": 1.5, "mbpp:3shot::none": 2.5}
    assert table.can_be_committed


def test_bookkeeping_columns_are_dropped_and_reported(load):
    table = load()

    assert table.dropped_columns == {"ratios.csv": ("", "index"), "metrics.csv": ("", "index")}
    assert [domain["name"] for domain in table.study["domains"]] == ["dclm:games", "arxiv"]
    assert sum("not imported" in i.message and i.level is Level.INFO for i in table.issues) == 4


def test_bits_per_byte_are_minimised_at_the_one_fidelity(load):
    study = load(fidelity="30m").study

    assert {"minimize"} == {metric["direction"] for metric in study["metrics"]}
    assert (study["fidelities"], study["target_fidelity"]) == ([{"name": "30m"}], "30m")


def test_the_id_column_may_be_called_run_id_as_its_loader_has_it(load):
    table = load("run_id,web,code\nx,0.5,0.5\n", "run_id,bpb\nx,1.0\n")

    assert [run["external_id"] for run in table.runs] == ["x"]


def test_pandas_unnamed_columns_are_dropped(load):
    table = load(
        RATIOS.replace(",run", "Unnamed: 0,run"), METRICS.replace(",run", "Unnamed: 0,run")
    )

    assert load().runs == table.runs


def test_files_without_a_shared_id_column_are_refused_naming_what_they_have(load):
    with pytest.raises(InvalidInputError, match=r"ratios\.csv has 'run', .*metrics\.csv has 'id'"):
        load(metrics="id,bpb\nx,1.0\n")


def test_a_file_of_bookkeeping_alone_is_refused(load):
    with pytest.raises(InvalidInputError, match=r"ratios\.csv has no column besides run, name"):
        load(ratios="run,name\nx,y\n")


@pytest.mark.parametrize("cell", ["nan", "", "-0.25"])
def test_weights_that_its_own_loader_lets_pass_are_errors(load, cell):
    table = load(RATIOS.replace("0.25", cell))

    (issue,) = table.errors
    assert (issue.file, issue.row, issue.column) == ("ratios.csv", 2, "dclm:games")


def test_a_duplicate_run_is_an_error(load):
    (issue,) = load(RATIOS + "2,hz0dfydj,swarm-0002,2,0.1,0.9\n").errors

    assert (issue.file, issue.row, issue.column) == ("ratios.csv", 4, "run")
