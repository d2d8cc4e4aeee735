"""`mixwright schedule` against the application, and the sample of documents it reads."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from app.cli import documents, schedule
from app.cli.main import app as commands
from mixwright.errors import InvalidInputError
from mixwright.quality.shards import ShardError
from mixwright_client.client import ProblemError

GIVEN = ["--tokens", "1e9", "--sequence-length", "1000", "--batch-tokens", "1e6"]
GIVEN += ["--peak-learning-rate", "3e-4"]


@pytest.fixture
def sessions(sqlite_url):
    from app.db.engine import make_engine, make_sessions

    sessions = make_sessions(make_engine(sqlite_url))
    yield sessions
    sessions.kw["bind"].dispose()


@pytest.fixture
def run(client, study, monkeypatch):
    """Runs a command; what it asks of a server goes to the application."""

    class Direct:
        def post(self, path, body):
            return self._answer(client.post(path, json=body))

        def get(self, path, **query):
            headers = {"Accept": "application/json"}
            return self._answer(client.get(path, params=query, headers=headers))

        def _answer(self, response):
            if response.status_code >= 400:
                raise ProblemError(response.json())
            return response.json()

    monkeypatch.setattr(schedule, "connect", lambda url, token: Direct())

    def invoke(*arguments):
        return CliRunner().invoke(commands, ["schedule", *arguments], catch_exceptions=True)

    return invoke


def planned(run, *options):
    result = run("plan", "small", *GIVEN, *options, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def test_options_are_json_or_text(run):
    weights = '{"math": 1.0}'
    options = ["--planner", "anneal", "--option", "share=0.25", "--option", "shape=cosine"]
    made = planned(run, *options, "--option", f"anneal_weights={weights}", "--seed", "3")
    assert made["options"] == {
        "share": 0.25,
        "shape": "cosine",
        "anneal_weights": {"math": 1.0},
    }
    assert (made["seed"], made["stages"][1]["start_token"]) == (3, 7.5e8)
    assert run("plan", "small", *GIVEN, "--planner", "anneal", "--option", "share").exit_code == 2


def test_a_person_sees_stages_and_domains(run):
    made = planned(run, "--planner", "drop_stable_rampup")
    shown = run("show", made["id"])
    assert shown.exit_code == 0
    for word in ("drop", "ramp-up", "250k", "math", made["id"]):
        assert word in shown.stdout
    assert json.loads(run("show", made["id"], "--json").stdout) == made


def test_a_person_sees_where_each_stage_begins_and_ends_on_a_curve_that_they_share(run, tmp_path):
    write_parquet(tmp_path / "all.parquet", 300)
    options = ["--planner", "quality_curriculum", "--documents", str(tmp_path / "*.parquet")]
    made = planned(run, *options, "--option", "buckets=2")
    shown = run("show", made["id"]).stdout
    assert re.search(r"0\.0003 → (0\.000[12]\d*) .* \1 → 0\.0001 ", " ".join(shown.split()))


def test_an_export_is_a_file_or_a_folder_of_segments(run, tmp_path):
    made = planned(run, "--planner", "anneal")["id"]
    out = tmp_path / "data.yaml"
    assert run("export", made, "--format", "levanter", "--out", str(out)).exit_code == 0
    assert "train_weights" in out.read_text()
    folder = tmp_path / "segments"
    assert run("export", made, "--format", "megatron", "--out", str(folder)).exit_code == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["01-data_args.sh", "02-data_args.sh"]
    printed = run("export", made, "--format", "megatron").stdout
    assert printed.count("==>") == 2


def test_what_the_server_refuses_is_an_error(run):
    result = run("plan", "small", *GIVEN, "--planner", "frames")
    assert isinstance(result.exception, ProblemError)


def write_parquet(path, count, seed=0, **columns):
    rng = np.random.default_rng(seed)
    table = {
        "domain": rng.choice(["web", "code"], count).tolist(),
        "tokens": rng.integers(1, 100, count),
        "quality": rng.normal(size=count),
        "text": ["x"] * count,
        **columns,
    }
    parquet.write_table(pa.table(table), path)


def test_documents_are_read_from_parquet(run, tmp_path):
    for part in range(2):
        write_parquet(tmp_path / f"{part}.parquet", 300, part)
    options = ["--planner", "quality_curriculum", "--documents", str(tmp_path / "*.parquet")]
    made = planned(run, *options)
    assert made["provenance"]["documents"]["count"] == 600
    assert planned(run, *options)["digest"] == made["digest"]


def quiet(done, title=""):
    pass


def test_documents_are_read_from_json_lines_and_those_without_a_number_are_left_out(tmp_path):
    rows = [{"domain": "web", "tokens": 5, "quality": score} for score in (0.5, None, 0.25)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(text)
    pattern = [str(tmp_path / "*.jsonl")]
    found, left_out = documents.read_sample(pattern, "domain", "tokens", ["quality"], 0, quiet)
    assert found == {
        "domain": ["web", "web"],
        "tokens": [5.0, 5.0],
        "columns": {"quality": [0.5, 0.25]},
    }
    assert left_out == 1
    with pytest.raises(InvalidInputError, match="--column"):
        documents.read_sample(pattern, "domain", "tokens", [], 0, quiet)
    with pytest.raises(ShardError, match="no column score"):
        documents.read_sample(pattern, "domain", "tokens", ["score"], 0, quiet)


def test_a_sample_is_even_over_all_files_and_the_same_for_a_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "MOST_DOCUMENTS", 2_000)
    for part in range(4):
        write_parquet(tmp_path / f"{part}.parquet", 5_000, part, part=np.full(5_000, float(part)))
    pattern, told = [str(tmp_path / "*.parquet")], []

    def read(seed):
        def tell(done, title=""):
            told.append(done)

        return documents.read_sample(pattern, "domain", "tokens", ["part"], seed, tell)[0]

    sample = read(0)
    counts = np.bincount(np.array(sample["columns"]["part"], dtype=int))
    assert counts.sum() == 2_000
    assert (np.abs(counts - 500) < 100).all()  # 5 standard deviations
    assert told[-1] == 1.0
    assert read(0) == sample
    assert read(1) != sample


def test_checkpoints_to_average_are_shown_with_their_weights(run):
    made = planned(run, "--planner", "anneal", "--option", "share=0.1", "--option", "average=4")
    shown = run("show", made["id"])
    assert shown.exit_code == 0, shown.exception
    assert "Average the checkpoints after 985, 990, 995, 1,000 steps" in shown.output
    assert "--weights 0.25,0.25,0.25,0.25" in shown.output


def test_what_repetition_costs_is_shown_for_a_size_of_model(run):
    made = planned(run, "--planner", "static")
    shown = run("show", made["id"], "--parameters", "1e9")
    assert shown.exit_code == 0, shown.exception
    assert "Repetition costs 0.0000 nats a token at 1B parameters" in shown.output
    found = json.loads(run("show", made["id"], "--parameters", "1e9", "--json").stdout)
    assert found["repetition"]["cost"] == pytest.approx(0, abs=1e-12)
    assert "repetition" not in json.loads(run("show", made["id"], "--json").stdout)
