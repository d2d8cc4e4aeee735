"""Losses by domain, weights of samples and gradients, with torch on one process."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright_client.domain_loss import DomainLoss
from mixwright_client.gradients import (
    Projection,
    alignment,
    averaged,
    clipped,
    grad_norms,
    gradient,
    gram,
    influence,
    norm_and_variance,
    second_moments,
)
from mixwright_client.sample_weights import local_sample_weights, sample_weights

torch = pytest.importorskip("torch")
ANSWERS = Path(__file__).parents[4] / "shared/known_answers/online_known_answers.json"


@pytest.fixture(scope="module")
def answers():
    if not ANSWERS.exists():
        pytest.skip("the table of known answers is not at hand")
    cases = json.loads(ANSWERS.read_text())["cases"]
    return {case["id"]: case for case in cases}


def doubles(values):
    return torch.tensor(values, dtype=torch.float64)


def test_losses_are_means_over_tokens_by_domain():
    losses = DomainLoss(("a", "b", "c"))
    tokens = torch.tensor([[1.0, 3.0], [5.0, float("nan")]], requires_grad=True)
    mask = torch.tensor([[True, True], [True, False]])
    losses.add(tokens, torch.tensor([0, 1]), mask)
    losses.add(torch.tensor([8.0]), torch.tensor([0]))
    assert losses.report() == {"a": 4.0, "b": 5.0, "c": None}
    assert losses.report() == {"a": None, "b": None, "c": None}


def test_packed_sequences_have_a_domain_for_each_token():
    losses = DomainLoss(("a", "b"))
    losses.add(torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[1, 0, 1]]))
    assert losses.report() == {"a": 2.0, "b": 2.5}


def test_a_loss_that_is_not_finite_is_missing_and_spoils_no_other():
    losses = DomainLoss(("a", "b"))
    losses.add(torch.tensor([1.0, float("nan"), 3.0]), torch.tensor([0, 1, 0]))
    assert losses.report() == {"a": 2.0, "b": None}
    losses.add(torch.tensor([2.0]), torch.tensor([1]))
    assert losses.report() == {"a": None, "b": 2.0}


def test_domain_ids_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        DomainLoss(("a",)).add(torch.zeros(2, 3), torch.tensor([0, 0, 0]))


@pytest.mark.parametrize("temperature", [1.0, 0.4])
@pytest.mark.parametrize("strategy", ["linupper", "quadratic", "extremes"])
def test_the_published_sample_weights(answers, strategy, temperature):
    case = answers["dlsr.strategies"]
    found = sample_weights(doubles(case["inputs"]["losses"]), strategy, 1.0, temperature)
    expected = case["expected"][f"{strategy}_r{temperature}"]
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=20))
def test_sample_weights_sum_to_one_and_grow_with_the_loss(values):
    found = sample_weights(doubles(values))
    assert float(found.sum()) == pytest.approx(1)
    ordered = found[doubles(values).argsort()]
    assert bool((ordered.diff() >= -1e-12).all())
    assert local_sample_weights(doubles(values)).tolist() == found.tolist()


def test_equal_losses_count_equally_and_what_is_not_finite_not_at_all():
    assert sample_weights(doubles([3.0] * 4)).tolist() == [0.25] * 4
    assert sample_weights(doubles([1.0, 5.0]), "uniform").tolist() == [0.5, 0.5]
    with_gap = sample_weights(doubles([1.0, float("nan"), 2.0, float("inf")])).tolist()
    without = sample_weights(doubles([1.0, 2.0])).tolist()
    assert with_gap == pytest.approx([without[0], 0, without[1], 0])
    with pytest.raises(ValueError, match="no loss"):
        sample_weights(doubles([float("nan")]))
    with pytest.raises(ValueError, match="'best' is unknown"):
        sample_weights(doubles([1.0]), "best")


def test_alignment_with_a_target_and_with_the_others(answers):
    case = answers["doge.target"]["inputs"]
    rows = dict(zip("abc", map(doubles, case["grads"])))
    found = alignment(rows, doubles(case["target_grad"]))
    assert list(found.values()) == pytest.approx(case["W"], abs=1e-9)
    assert list(grad_norms(rows).values()) == pytest.approx(case["grad_norm"], abs=1e-9)

    table = gram(rows)
    assert table["rows"] == table["columns"] == ["a", "b", "c"]
    assert table["values"][0][1] == pytest.approx(float(rows["a"] @ rows["b"]))
    others = [sum(row) - row[i] for i, row in enumerate(table["values"])]
    assert list(alignment(rows).values()) == pytest.approx(others)


def test_influence_is_that_of_a_dense_solve():
    generator = torch.Generator().manual_seed(3)
    domains, aims = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    curvature = torch.rand(7, generator=generator, dtype=torch.float64) ** 4
    curvature[2] = 0.0  # the damping makes it invertible
    found = influence(
        dict(zip(("web", "code", "math"), domains)),
        dict(zip(("qa", "proofs"), aims)),
        curvature,
    )
    assert (found["rows"], found["columns"]) == (["qa", "proofs"], ["web", "code", "math"])
    hessian = torch.diag(curvature) + curvature.mean() * torch.eye(7, dtype=torch.float64)
    expected = aims[:2] @ torch.linalg.solve(hessian, domains.T)
    torch.testing.assert_close(doubles(found["values"]), expected)


def test_influence_is_what_a_step_along_a_domain_takes_off_a_task_s_loss():
    """On quadratic losses, over the length of the step; falls are positive."""
    generator = torch.Generator().manual_seed(4)
    centres = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    aims = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    scale = torch.rand(5, generator=generator, dtype=torch.float64) + 0.1

    def loss(centre, at):
        return 0.5 * (scale * (at - centre) ** 2).sum()

    start = torch.zeros(5, dtype=torch.float64)
    rows = {f"domain {j}": scale * (start - centre) for j, centre in enumerate(centres)}
    tasks = {f"task {i}": scale * (start - aim) for i, aim in enumerate(aims)}
    found = doubles(influence(rows, tasks, scale)["values"])
    for j, row in enumerate(rows.values()):
        stepped = start - 1e-6 * row / (scale + scale.mean())
        fallen = [float(loss(aim, start) - loss(aim, stepped)) / 1e-6 for aim in aims]
        assert found[:, j].tolist() == pytest.approx(fallen, rel=1e-4)


@pytest.mark.parametrize(
    ("task", "curvature", "reason"),
    [
        ([1.0], [1.0, 1.0], "tasks of 1"),
        ([1.0, 2.0], [1.0], r"shape \(1,\)"),
        ([1.0, 2.0], [[1.0, 1.0]], r"shape \(1, 2\)"),
        ([1.0, 2.0], [0.0, 0.0], "not all 0"),
        ([1.0, 2.0], [3.0, -1.0], "least -1.0"),
        ([1.0, 2.0], [1.0, float("nan")], "mean nan"),
        ([1.0, 2.0], [1.0, float("inf")], "mean inf"),
    ],
)
def test_influence_without_a_curvature_of_its_rows_is_refused(task, curvature, reason):
    with pytest.raises(ValueError, match=reason):
        influence({"a": doubles([1.0, 1.0])}, {"t": doubles(task)}, doubles(curvature))


def test_second_moments_are_adam_s_in_the_order_of_the_gradient():
    first = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    second = torch.tensor([5.0], requires_grad=True)
    optimizer = torch.optim.AdamW([first, second], lr=0.0, betas=(0.9, 0.75))
    loss = (first**2).sum() + (3 * second).sum()
    row = gradient(loss, [second, first])
    loss.backward()
    optimizer.step()
    found = second_moments(optimizer, [second, first])
    assert found.tolist() == pytest.approx((row**2 / 4).tolist())


def test_an_optimiser_without_second_moments_is_refused_and_left_as_it_was():
    used, unused = (torch.ones(2, requires_grad=True) for _ in range(2))
    adam, plain = torch.optim.Adam([used, unused]), torch.optim.SGD([used], momentum=0.9)
    with pytest.raises(ValueError, match=r"Adam has no second moments of parameter 0.*made a step"):
        second_moments(adam, [used])
    assert adam.state_dict()["state"] == {}
    (used**2).sum().backward()
    adam.step()
    plain.step()
    with pytest.raises(ValueError, match="of parameter 1"):
        second_moments(adam, [used, unused])
    with pytest.raises(ValueError, match="SGD has no"):
        second_moments(plain, [used])


def test_the_known_estimates_of_norm_and_variance(answers):
    case = answers["pike.estimators"]
    rows = doubles(case["inputs"]["microbatch_grads"])
    norm, variance = norm_and_variance(rows, case["params"]["microbatch_size"])
    assert norm == pytest.approx(case["expected"]["grad_norm_sq_unbiased"], abs=1e-9)
    assert variance == pytest.approx(case["expected"]["sample_variance_sigma2"], abs=1e-9)


def test_norm_and_variance_are_without_bias():
    generator = torch.Generator().manual_seed(0)
    mean = torch.full((5,), 0.3)
    found = []
    for _ in range(2000):
        samples = mean + torch.randn(4, 8, 5, generator=generator)
        found.append(norm_and_variance(samples.mean(dim=1), 8))
    norms, variances = zip(*found)
    assert sum(variances) / 2000 == pytest.approx(5, abs=0.2)
    assert sum(norms) / 2000 == pytest.approx(0.45, abs=0.03)
    assert norm_and_variance(torch.tensor([[1.0], [-1.0]]), 1)[0] == 0
    with pytest.raises(ValueError, match="two micro-batches"):
        norm_and_variance(mean[None], 8)


def test_gradients_of_chosen_parameters():
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    unused = torch.zeros(3, requires_grad=True)
    loss = (weight**2).sum()
    assert gradient(loss, [weight, unused]).tolist() == [2, 4, 0, 0, 0]
    assert gradient(loss, [weight]).tolist() == [2, 4]  # the graph is kept
    assert weight.grad is None
    row = torch.tensor([3.0, 4.0])
    assert clipped(row, 2.5).tolist() == [1.5, 2.0]
    assert clipped(row, 50.0).tolist() == clipped(torch.tensor([3.0, 4.0]), 5.0).tolist() == [3, 4]
    assert averaged(row).tolist() == [3, 4]


def test_a_projection_keeps_inner_products():
    generator = torch.Generator().manual_seed(1)
    a, noise = torch.randn(2, 20_000, generator=generator)
    b = 0.5 * a + noise
    parts = [a[:5000].reshape(50, 100), a[5000:]]
    again = [b[:5000].reshape(50, 100), b[5000:]]
    exact = float(a @ b)
    spread = float(a.norm() * b.norm()) * (2 / 1000) ** 0.5
    found = [
        float(Projection(1000, seed).apply(parts) @ Projection(1000, seed).apply(again))
        for seed in range(20)
    ]
    assert sum(found) / 20 == pytest.approx(exact, abs=3 * spread / 20**0.5)
    assert max(abs(value - exact) for value in found) < 5 * spread


def test_a_projected_gradient_is_short():
    weight = torch.ones(100, requires_grad=True)
    row = gradient((weight**2).sum(), [weight], Projection(16))
    assert row.shape == (16,)
    assert row.tolist() == gradient((weight**2).sum(), [weight], Projection(16)).tolist()
