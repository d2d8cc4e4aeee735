"""The page of a training, and what is counted of it."""

import html
import re

import pytest


@pytest.fixture
def page(client, training):
    def send(to=training, status=200, **headers):
        response = client.get(f"/v1/trainings/{to}/report", headers=headers)
        assert response.status_code == status, response.text
        return response

    return send


def words(response):
    text = re.sub(r"<(script|style).*?</\1>", "", response.text, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", text).split()))


def test_the_page_tells_of_a_training_without_observations(page):
    response = page()
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "doremi weighs 2 domains; at step 0 version 0 is in force." in words(response)
    assert "Nothing has been observed yet" in words(response)
    page("trn_nonesuch", 404)


def test_the_page_tells_how_versions_came_and_what_became_of_them(page, observe, post):
    observe(10, 0.1, 0.9)
    observe(20, 0.1, 0.9)
    post("acks", version=1, applied_step=12)
    observe(5, 0.3, 0.3)
    post("resume", step=10, version=1)
    observe(30, 0.9, 0.1)
    post("rollback", version=0)
    told = words(page())
    assert "1 10 12 published observation of step 10" in told
    assert "2 20 – void observation of step 20" in told
    assert "4 30 – published back to version 0" in told
    assert "5 no step 5 is before 20, the last one" in told
    assert "1 observation of steps that a resumption took back is not drawn" in told


def test_the_page_says_what_waits_and_what_was_refused(page, create, post):
    training = create(policy="approve")["id"]
    post("observations", to=training, step=1, excess_losses={"a": 0.1, "b": 0.9})
    post("observations", 422, to=training, step=2, excess_losses={"a": 0.1, "x": 0.9})
    told = words(page(training))
    assert "Version 1 waits for approval; until then the weights stay." in told
    assert "1 observation could not be used and was refused (422)" in told
    post("versions/1/approve", to=training)
    assert "waits for approval" not in words(page(training))


def test_the_page_is_sent_again_only_where_something_is_new(page, observe, post):
    def changed(tag):
        response = page(status=200, **{"If-None-Match": tag})
        assert response.headers["etag"] != tag
        return response.headers["etag"]

    tag = page().headers["etag"]
    page(status=304, **{"If-None-Match": tag})
    observe(10, 0.1, 0.9)
    tag = changed(tag)
    post("observations", 422, step=20, excess_losses={"x": 1.0})
    tag = changed(tag)
    post("acks", version=1, applied_step=12)
    tag = changed(tag)
    page(status=304, **{"If-None-Match": tag})


def test_metrics_count_refused_observations(client, create, post):
    text = 'mixwright_refused_observations_total{algorithm="doremi"}'
    assert f"{text} 0.0" in client.get("/metrics").text
    post("observations", 422, step=20, excess_losses={"x": 1.0})
    post("observations", 422, to=create()["id"], step=20, excess_losses={"x": 1.0})
    assert f"{text} 2.0" in client.get("/metrics").text
