"""What changes a training besides observations, on both databases."""

from functools import partial

import pytest
from small_training import pointers, triple


def test_a_resumed_training_goes_on_as_if_nothing_had_come_after(create, post, get, ledger):
    def tell(training, step, a):
        body = {"step": step, "excess_losses": {"a": a, "b": 0.1}}
        return post("observations", to=training, **body)

    undisturbed, crashed = create()["id"], create()["id"]
    for training in (undisturbed, crashed):
        for step in (100, 200):
            tell(training, step, 0.003 * step)
    for step in (300, 400):
        tell(crashed, step, 5.0)
    found = post("resume", to=crashed, step=250, version=2)
    assert found["version"] == 2
    assert ledger(to=crashed)[2:] == [
        (2, 200, "published"), (3, 300, "void"), (4, 400, "void"),
    ]  # fmt: skip
    assert get("/weights", to=crashed)["version"] == 2
    for step in (300, 400):
        one, other = tell(undisturbed, step, 0.7), tell(crashed, step, 0.7)
        assert other["weights"] == one["weights"]
        assert (one["version"], other["version"]) == (step // 100, step // 100 + 2)


def test_resuming_twice_because_the_answer_was_lost_changes_nothing(observe, post, ledger):
    observe(100, 0.5, 0.1)
    observe(200, 0.5, 0.1)
    first = post("resume", step=150, version=0)  # it does not know version 1
    assert first["version"] == 3
    before = ledger()
    assert post("resume", step=150, version=0) == first
    assert ledger() == before


def test_resuming_before_the_first_observation(observe, post, get):
    post("resume", step=0, version=0)
    observe(100, 0.5, 0.1)
    found = post("resume", step=0, version=0)
    assert (found["version"], found["weights"]) == (0, {"a": 0.5, "b": 0.5})
    assert get()["position"] == 0
    assert observe(100, 0.1, 0.5)["version"] == 2


def test_a_step_before_the_resumed_one_is_still_known(observe, post):
    first = observe(100, 0.5, 0.1)
    observe(200, 0.5, 0.1)
    post("resume", step=150, version=1)
    assert observe(100, 0.5, 0.1) == first
    observe(100, 0.5, 0.2, 409)


def test_a_version_that_cannot_be_resumed_from(observe, post):
    observe(100, 0.5, 0.1)
    assert pointers(post("resume", 422, step=100, version=7)) == ["/version"]
    post("resume", step=0, version=0)
    post("resume", 409, step=100, version=1)


def test_rolling_back_publishes_old_weights_once_more(observe, post, get):
    old = observe(100, 0.5, 0.1)
    observe(200, 0.9, 0.1)
    found = post("rollback", version=1)
    assert (found["version"], found["effective_step"]) == (3, 200)
    assert found["weights"] == old["weights"]
    assert post("rollback", version=1) == found
    assert get("/weights") == triple(found)
    assert pointers(post("rollback", 422, version=9)) == ["/version"]


def test_proposals_are_served_once_they_are_approved(create, post, get, client):
    training = create(policy="approve")["id"]
    for step, version in ((100, 1), (200, 2)):
        body = {"step": step, "excess_losses": {"a": 0.5, "b": 0.1}}
        found = post("observations", to=training, **body)
        assert (found["version"], found["applied"]) == (0, True)
        assert found["proposal"]["version"] == version
        assert "approval" in found["reason"]
    assert get("/weights", to=training)["version"] == 0
    found = post("versions/2/approve", to=training)
    entries = get("/ledger", to=training)["items"]
    assert [entry["state"] for entry in entries] == ["published", "proposed", "published"]
    assert triple(entries[2]) == triple(found)
    assert get("/weights", to=training)["version"] == 2
    assert post("versions/2/approve", to=training)["version"] == 2
    post("versions/1/approve", 409, to=training)
    post("versions/9/approve", 404, to=training)
    post("acks", 422, to=training, version=1, applied_step=1)


def test_what_was_really_applied_is_in_the_ledger(observe, post, get):
    observe(100, 0.5, 0.1)
    for _ in range(2):
        found = post("acks", version=1, applied_step=124)
        assert found == {"version": 1, "applied_step": 124}
    assert [one["applied_step"] for one in get("/ledger")["items"]] == [None, 124]
    post("acks", version=1, applied_step=130)
    assert get("/ledger")["items"][1]["applied_step"] == 130
    assert pointers(post("acks", 422, version=7, applied_step=1)) == ["/version"]


# Domains


def test_domains_change_by_an_explicit_map(observe, post, get):
    observe(100, 0.5, 0.1)
    found = post("domains", domains=["b", "c", "z"], origin={"z": "a"})
    assert found["version"] == 2
    assert list(found["weights"]) == ["b", "c", "z"]
    assert found["weights"]["c"] == pytest.approx(1 / 3)
    old = observe(100, 0.5, 0.1)["weights"]
    assert found["weights"]["z"] / found["weights"]["b"] == pytest.approx(old["a"] / old["b"])
    assert get()["domains"] == ["b", "c", "z"]
    answer = observe(200, 0.5, 0.1, 422)
    assert pointers(answer) == ["/excess_losses/a"]
    excess = {"b": 0.1, "c": 0.2, "z": 0.3}
    assert post("observations", step=200, excess_losses=excess)["version"] == 3
    post("rollback", 409, version=1)
    post("resume", step=150, version=2)
    assert get("/weights")["version"] == 2


def test_options_by_domain_change_with_the_domains(create, post, get, client):
    targets = {"target_losses": {"a": 2.0, "b": 2.0}, "floor": 0.0}
    to = create(algorithm="shearing", options=targets)["id"]
    observe = partial(post, "observations", to=to)
    before = observe(step=1, losses={"a": 3.0, "b": 2.0})
    body = {"domains": ["a", "c"], "origin": {"c": "b"}}
    wrong = post("domains", 422, to=to, **body)
    assert pointers(wrong) == ["/options/target_losses"]
    for options, at in (
        ({"target_losses": {"a": 2.0}}, "/options/target_losses"),
        ({"targets": 1}, "/options/targets"),
        ({"pinned": {"b": 0.0}, "target_losses": {"a": 2.0}}, "/options/pinned"),
    ):
        assert pointers(post("domains", 422, to=to, **body, options=options)) == [at]
    new = {"target_losses": {"a": 3.0, "c": 2.0}}
    changed = post("domains", to=to, **body, options=new)
    assert post("domains", to=to, **body, options=new) == changed
    assert get(to=to)["options"] == {**targets, **new}
    after = observe(step=2, losses={"a": 3.0, "c": 2.0})
    assert after["diagnostics"]["above_target"] == {"a": 0.0, "c": 0.0}
    post("resume", to=to, step=0, version=0)
    assert get(to=to)["options"] == targets
    assert observe(step=2, losses={"a": 3.0, "b": 2.0})["applied"]
    assert before["diagnostics"]["above_target"] == {"a": 1.0, "b": 0.0}


def test_new_domains_may_begin_with_given_weights(post):
    found = post("domains", domains=["a", "c"], weights={"a": 0.25, "c": 0.75})
    assert found["weights"] == {"a": 0.25, "c": 0.75}


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"domains": []}, "/domains"),
        ({"domains": ["a", "c"], "origin": {"x": "a"}}, "/origin"),
        ({"domains": ["a", "c"], "origin": {"c": "x"}}, "/origin"),
        ({"domains": ["a", "c"], "weights": {"a": 1.0}}, "/weights/c"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(post, get, body, at):
    assert at in pointers(post("domains", 422, **body))
    assert get("/weights")["version"] == 0


# Guards


def test_guards_stand_between_the_algorithm_and_what_is_served(create, post):
    options = {"step_size": 50.0, "floor": 0.02, "max_step": 0.1, "warmup_steps": 100}
    training = create(options=options)["id"]

    def tell(step):
        body = {"step": step, "excess_losses": {"a": 1.0, "b": 0.0}}
        return post("observations", to=training, **body)

    early = tell(50)
    assert (early["applied"], early["version"]) == (False, 0)
    assert "step 100" in early["reason"]
    served = [tell(100 + step)["weights"]["a"] for step in range(7)]
    assert served == pytest.approx([0.6, 0.7, 0.8, 0.9, 0.99, 0.99, 0.99], abs=1e-3)
    assert "'a'" in tell(200)["warnings"][0]


def test_a_pinned_domain_keeps_its_exact_share(create, post):
    training = create(domains=["a", "b", "c"], options={"pinned": {"c": 0.0}})["id"]
    body = {"step": 1, "excess_losses": {"a": 1.0, "b": 0.0, "c": 5.0}}
    found = post("observations", to=training, **body)
    assert found["weights"]["c"] == 0.0
    assert found["weights"]["b"] > 0
