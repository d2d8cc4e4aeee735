"""From scored shards to chosen documents, as a user does it: four commands and a server."""

import gzip
import json
import os
import subprocess
import sys

import pytest
from deployment import until
from rated_study import QUADMIX, THETA, as_lines, as_parquet, documents, rated_study


@pytest.fixture
def mixwright(deployment):
    def run(*words, fails=False):
        done = subprocess.run(
            [sys.executable, "-m", "app.cli.main", *map(str, words)],
            env=os.environ | {"MIXWRIGHT_URL": str(deployment.client.base_url)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done

    return run


@pytest.fixture
def folder(tmp_path):
    rows = [row | {"text": f"document {row['id']}"} for row in documents(6000)]
    (tmp_path / "a.parquet").write_bytes(as_parquet(rows[:4000]))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(as_lines(rows[4000:])))
    (tmp_path / "theta.json").write_text(json.dumps(THETA))
    return tmp_path


@pytest.mark.parametrize("normalisation", ["z_score", "rank_normal"])
def test_from_scored_shards_to_chosen_documents(deployment, mixwright, folder, normalisation):
    study = rated_study(QUADMIX | {"normalisation": normalisation})
    assert deployment.client.post("/v1/studies", json=study).status_code == 201
    upload = ("sample", "upload", "rated", folder / "*.parquet", folder / "*.gz")
    assert "6,000 documents sent" in mixwright(*upload).stdout
    again = json.loads(mixwright(*upload, "--json").stdout)
    assert (again["sent"], again["repeated"], again["documents"]) == (6000, 6000, 6000)
    function = folder / "function.json"
    make = ("sample", "function", "rated", "--out", function)
    shown = mixwright(*make, "--parameters", folder / "theta.json").stdout
    assert "tokens expected" in shown
    made = json.loads(mixwright(*make, "--parameters", folder / "theta.json", "--json").stdout)
    text = deployment.client.get(f"/v1/sampling-functions/{made['id']}/function.json").content
    assert function.read_bytes() == text
    apply = ("sample", "apply", "--function", function, "--out", folder / "chosen", "--json")
    told = json.loads(
        mixwright(*apply, "--in", folder / "*.parquet", "--in", folder / "*.gz").stdout
    )
    share = {
        name: sums["expected_tokens"] / sums["tokens"] for name, sums in told["domains"].items()
    }
    for name, available in made["implied"]["available_tokens"].items():
        wanted = made["implied"]["tokens"][name] / available
        assert share[name] == pytest.approx(wanted, rel=1e-9)  # the sample is the corpus here


def test_numbers_of_clusters_are_names_of_domains(deployment, mixwright, tmp_path):
    study = rated_study(QUADMIX, domains=("0", "1"))
    assert deployment.client.post("/v1/studies", json=study).status_code == 201
    rows = [row | {"cluster": place % 2} for place, row in enumerate(documents(40))]
    (tmp_path / "a.parquet").write_bytes(as_parquet(rows))
    (tmp_path / "b.jsonl").write_bytes(as_lines(documents(20, seed=1)))
    upload = ("sample", "upload", "rated", tmp_path / "a.parquet")
    told = json.loads(mixwright(*upload, "--domain-column", "cluster", "--json").stdout)
    assert [count["documents"] for count in told["domains"].values()] == [20, 20]
    refused = mixwright("sample", "upload", "rated", tmp_path / "b.jsonl", fails=True).stderr
    assert f"{tmp_path}/b.jsonl, in a part of" in " ".join(refused.split())
    assert "is not a domain of the study" in refused


@pytest.mark.parametrize("named", [True, False])
def test_an_upload_that_was_killed_and_repeated_counts_everything_once(
    deployment, mixwright, tmp_path, named
):
    deployment.post("/v1/studies", rated_study(QUADMIX), 201)
    rows = [row if named else {**row, "id": None} for row in documents(20_000)]
    for row in rows:
        row |= {} if named else {"edu": round(row["edu"]), "perplexity": 1.0, "tokens": 9}
    shards = tmp_path / "shards"
    shards.mkdir()
    for place in range(40):
        part = [{n: v for n, v in row.items() if v is not None} for row in rows[place::40]]
        (shards / f"{place:02}.parquet").write_bytes(as_parquet(part))

    def sampled():
        return deployment.client.get("/v1/studies/rated/samples").json()["documents"]

    upload = ("sample", "upload", "rated", f"{shards}/*.parquet", "--json")
    running = subprocess.Popen(
        [sys.executable, "-m", "app.cli.main", *upload],
        env=os.environ | {"MIXWRIGHT_URL": str(deployment.client.base_url)},
        stdout=subprocess.DEVNULL,
    )
    until(sampled)
    running.kill()
    running.wait()
    before = sampled()
    assert 0 < before < 20_000
    if named:  # in other files, whose documents are in another order
        for path in shards.iterdir():
            path.unlink()
        (shards / "one.parquet").write_bytes(as_parquet(rows[::-1]))
    told = json.loads(mixwright(*upload).stdout)
    assert told["repeated"] in (before, before + 500)  # one may have been on its way
    assert (told["sent"], told["documents"]) == (20_000, 20_000)


def test_what_is_wrong_is_said_and_nothing_is_written(deployment, mixwright, folder):
    deployment.client.post("/v1/studies", json=rated_study(QUADMIX))
    missing = mixwright("sample", "upload", "rated", folder / "*.csv", fails=True)
    assert "no file matches" in missing.stderr
    function = folder / "function.json"
    make = ("sample", "function", "rated", "--out", function)
    early = mixwright(*make, "--parameters", folder / "theta.json", fails=True)
    assert "no document with tokens" in early.stderr
    assert "one of --parameters" in mixwright(*make, fails=True).stderr
    assert not function.exists()
    other = rated_study(QUADMIX | {"raters": ["fluency"], "lower_is_better": []}, name="other")
    deployment.client.post("/v1/studies", json=other)
    wrong = mixwright("sample", "upload", "other", folder / "*.parquet", fails=True)
    assert "no column fluency" in wrong.stderr
