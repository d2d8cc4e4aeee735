import gzip

import numpy as np
import pytest
import zstandard
from rated_study import (
    DOMAINS,
    META_RATER,
    NDJSON,
    PARQUET,
    QUADMIX,
    RATERS,
    as_lines,
    as_parquet,
    documents,
)
from sqlalchemy import select

from app.db.sampling_models import SamplePartRow
from app.samples.stored import StoredSample


def problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()


def pointers(response):
    return {error["pointer"] for error in problem(response, 422)["errors"]}


@pytest.fixture
def send(client, rated):
    def post(body, media_type=NDJSON, study=None, **headers):
        path = f"/v1/studies/{study or rated(QUADMIX)}/samples"
        return client.post(path, content=body, headers={"Content-Type": media_type, **headers})

    return post


@pytest.fixture
def sample(client, rated):
    return lambda: client.get(f"/v1/studies/{rated(QUADMIX)}/samples").json()


class TestStoring:
    def test_a_sample_says_what_is_in_it(self, send, sample):
        rows = documents(3000)
        answer = send(as_lines(rows))
        assert answer.status_code == 201, answer.text
        assert answer.json()["domains"]["web"]["documents"] == 1500
        found = sample()
        assert found["documents"] == 3000
        assert found["tokens"] == sum(row["tokens"] for row in rows)
        tokens = np.array([row["tokens"] for row in rows])
        for name in RATERS:
            scores = np.array([row[name] for row in rows])
            mean = np.average(scores, weights=tokens)
            spread = np.sqrt(np.average((scores - mean) ** 2, weights=tokens))
            told = found["raters"][name]
            assert told["mean"] == pytest.approx(mean, rel=1e-12)
            assert told["spread"] == pytest.approx(spread, rel=1e-12)
            assert (told["lowest"], told["highest"]) == (scores.min(), scores.max())
            assert told["higher_is_better"] == (name == "edu")
        assert found["warnings"] == []

    def test_parts_are_one_sample_whatever_their_order(self, client, rated, send, sample):
        parts = [as_lines(documents(700, seed)) for seed in (1, 2, 3)]
        for part in parts:
            assert send(part).status_code == 201
        first = sample()
        assert client.delete(f"/v1/studies/{rated(QUADMIX)}/samples").status_code == 204
        assert sample()["documents"] == 0
        for part in reversed(parts):
            send(part)
        assert sample() == first
        assert first["parts"] == 3

    def test_the_same_documents_again_change_nothing(self, send, sample):
        rows = documents(500)
        send(as_lines(rows))
        before = sample()
        again = [
            send(as_lines(rows)),
            send(gzip.compress(as_lines(rows)), **{"Content-Encoding": "gzip"}),
            send(zstandard.compress(as_lines(rows)), **{"Content-Encoding": "zstd"}),
            send(as_parquet(rows), PARQUET),
        ]
        assert [one.status_code for one in again] == [200] * 4
        assert sample() == before
        other_names = [row | {"id": "b" + row["id"]} for row in rows]
        assert send(as_lines(other_names)).status_code == 201

    def test_an_idempotency_key_gives_the_first_answer_again(self, client, rated, send):
        body = as_lines(documents(50))
        first = send(body, **{"Idempotency-Key": "k"})
        client.delete(f"/v1/studies/{rated(QUADMIX)}/samples")
        again = send(body, **{"Idempotency-Key": "k"})
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json() == first.json()
        other = send(as_lines(documents(3)), **{"Idempotency-Key": "k"})
        assert "another request" in problem(other, 422)["detail"]

    def test_scores_are_kept_to_the_last_bit(self, send, sessions, client, rated):
        rows = documents(400)
        part = send(as_lines(rows)).json()
        study = client.get(f"/v1/studies/{rated(QUADMIX)}/samples").json()["study_id"]
        with sessions() as session:
            (block,) = StoredSample(session, study, [part["sha256"]]).blocks()
        assert block.scores.tolist() == [[row["edu"], row["perplexity"]] for row in rows]
        assert block.tokens.tolist() == [row["tokens"] for row in rows]
        assert [DOMAINS[place] for place in block.domain_index] == [row["domain"] for row in rows]

    def test_single_precision_is_stored_as_such(self, send):
        import pyarrow as pa

        rows = [row | {"perplexity": float(place % 7)} for place, row in enumerate(documents(4000))]
        rows = [{name: value for name, value in row.items() if name != "id"} for row in rows]
        single = dict.fromkeys(RATERS, pa.float32())
        narrow = send(as_parquet(rows, **single), PARQUET).json()["stored_bytes"]
        assert narrow < 4000 * 8  # two domains, tokens below 900, and 4 bytes of one rater
        assert narrow < 0.7 * send(as_lines(rows)).json()["stored_bytes"]

    def test_a_study_of_mixtures_has_no_sample(self, client, study, send):
        assert "no raters" in problem(send(as_lines(documents(2)), study=study), 409)["detail"]
        problem(client.get(f"/v1/studies/{study}/samples"), 409)
        problem(send(as_lines(documents(2)), study="nobody"), 404)

    def test_other_raters_than_those_of_the_sample_are_a_conflict(self, client, rated, send):
        send(as_lines(documents(10)))
        path = f"/v1/studies/{rated(QUADMIX)}"
        other = {"space": QUADMIX | {"raters": ["perplexity", "edu"]}}
        assert client.patch(path, json=other).status_code == 200
        assert "delete the sample" in problem(client.get(f"{path}/samples"), 409)["detail"]
        assert send(as_lines(documents(10))).status_code == 201
        assert client.delete(f"{path}/samples").status_code == 204
        assert client.get(f"{path}/samples").json()["documents"] == 0

    def test_deleting_the_study_deletes_its_sample(self, client, rated, send, sessions):
        send(as_lines(documents(10)))
        client.delete(f"/v1/studies/{rated(QUADMIX)}")
        with sessions() as session:
            assert session.query(SamplePartRow).count() == 0


class TestSentAgain:
    def test_another_division_changes_nothing(self, send, sample):
        rows = documents(3000)
        for start, end in ((0, 1000), (1000, 3000)):
            assert send(as_lines(rows[start:end])).json()["repeated"] == 0
        before = sample()
        assert before["documents"] == 3000
        for start, end in ((0, 1500), (1500, 3000), (0, 3000), (2999, 3000)):
            again = send(as_lines(rows[start:end]))
            assert again.status_code == 200
            assert again.json()["documents"] == again.json()["repeated"] == end - start
            assert (again.json()["stored_bytes"], again.json()["created_at"]) == (0, None)
        assert send(as_parquet(rows[::-1]), PARQUET).status_code == 200
        assert sample() == before

    def test_what_was_there_is_left_out_of_a_part_that_has_more(self, send, sample, sessions):
        rows = documents(3000)
        send(as_lines(rows[:1000]))
        part = send(as_lines(rows))
        assert part.status_code == 201
        assert (part.json()["documents"], part.json()["repeated"]) == (3000, 1000)
        found = sample()
        assert (found["documents"], found["parts"]) == (3000, 2)
        assert found["tokens"] == sum(row["tokens"] for row in rows)
        with sessions() as session:
            stored = session.scalars(select(SamplePartRow.sha256).order_by("created_at")).all()
            blocks = [*StoredSample(session, found["study_id"], stored).blocks()]
        kept = np.concatenate([block.scores for block in blocks])
        assert kept.tolist() == [[row["edu"], row["perplexity"]] for row in rows]
        assert send(as_lines(rows)).json()["repeated"] == 3000
        assert sample() == found

    def test_a_document_comes_twice_in_one_part(self, send, sample):
        rows = documents(50)
        assert send(as_lines([*rows, *rows[:20]])).json()["repeated"] == 20
        assert sample()["documents"] == 50

    @pytest.mark.parametrize("change", [{"edu": 0.5}, {"tokens": 7}, {"domain": "code"}])
    def test_files_that_count_their_documents_alike_add_up(self, send, sample, change):
        rows = [row | {"id": place, "domain": "web"} for place, row in enumerate(documents(50))]
        send(as_lines(rows))
        named = [row | {"id": str(row["id"])} for row in rows]  # a number is its digits
        assert send(as_lines(named)).json()["repeated"] == 50
        assert send(as_lines([row | change for row in rows])).json()["repeated"] == 0
        assert sample()["documents"] == 100

    def test_documents_without_ids_are_known_as_a_part_alone(self, send, sample):
        rows = [row | {"edu": 1.0 + place % 3} for place, row in enumerate(documents(50))]
        for row in rows:
            row |= {"id": None, "tokens": 9, "perplexity": 2.0}
        send(as_lines(rows))
        assert send(as_lines(rows)).json()["repeated"] == 50
        assert sample()["documents"] == 50
        assert send(as_lines(rows[:20])).json()["repeated"] == 0
        assert sample()["documents"] == 70

    def test_a_deleted_sample_is_forgotten(self, client, rated, send, sample):
        rows = documents(50)
        send(as_lines(rows))
        client.delete(f"/v1/studies/{rated(QUADMIX)}/samples")
        assert send(as_lines(rows[:30])).json()["repeated"] == 0
        assert sample()["documents"] == 30

    def test_samples_of_two_studies_are_two(self, client, rated, send):
        other = rated(META_RATER, name="weighed")
        send(as_lines(documents(50)))
        assert send(as_lines(documents(50)[:49]), study=other).json()["repeated"] == 0


class TestWhatIsWrong:
    @pytest.mark.parametrize("kind", [NDJSON, PARQUET])
    def test_every_wrong_row_is_named_and_nothing_is_stored(self, send, sample, kind):
        rows = documents(20_000)
        rows[5]["edu"], rows[7]["domain"], rows[19_999]["tokens"] = float("nan"), "wbe", -1
        answer = send(as_lines(rows) if kind == NDJSON else as_parquet(rows), kind)
        assert pointers(answer) == {"/5/edu", "/7/domain", "/19999/tokens"}
        assert "row 6" in answer.json()["detail"]
        assert sample()["documents"] == 0

    def test_half_a_parquet_file(self, send):
        body = as_parquet(documents(300))
        detail = problem(send(body[: len(body) // 2], PARQUET), 422)["detail"]
        assert "truncated or damaged" in detail

    def test_what_is_neither_lines_nor_parquet_is_not_supported(self, send):
        body = as_lines(documents(2))
        assert NDJSON in problem(send(body, "application/json"), 415)["detail"]
        problem(send(body, NDJSON, **{"Content-Encoding": "br"}), 415)

    def test_too_large_a_body_is_refused(self, send):
        assert "several" in problem(send(b" " * (17 * 2**20)), 413)["detail"]


class TestWarnings:
    def test_a_rater_that_points_the_wrong_way(self, client, rated, send):
        study = rated(QUADMIX | {"lower_is_better": []}, name="turned")
        send(as_lines(documents(2000)), study=study)
        warnings = client.get(f"/v1/studies/{study}/samples").json()["warnings"]
        assert any("check its direction" in warning for warning in warnings)

    def test_a_constant_rater_and_a_domain_without_documents(self, client, rated, send):
        study = rated(QUADMIX)
        rows = [row | {"edu": 0.1, "domain": "web"} for row in documents(50)]
        assert send(as_lines(rows)).status_code == 201
        warnings = client.get(f"/v1/studies/{study}/samples").json()["warnings"]
        assert len(warnings) == 2
        assert "'code'" in warnings[0]
        assert "'edu'" in warnings[1]

    def test_meta_rater_does_not_weigh_by_tokens(self, client, rated, send):
        study = rated(META_RATER)
        rows = documents(500)
        send(as_lines(rows), study=study)
        told = client.get(f"/v1/studies/{study}/samples").json()["raters"]["edu"]
        assert told["normalisation"] == "z_score_of_documents"
        assert told["mean"] == pytest.approx(np.mean([row["edu"] for row in rows]), rel=1e-12)
