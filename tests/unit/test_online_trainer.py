"""The trainings of the online benchmark are paired, and what is tried is taken back."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from benchmarks.online_blocks import Pool  # noqa: E402
from benchmarks.online_report import Difference, Outcomes  # noqa: E402
from benchmarks.online_sets import chain, made, transitions  # noqa: E402
from benchmarks.online_trainer import BATCH, Training  # noqa: E402
from mixwright.reweighting.blocks import Bitmap  # noqa: E402


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    return made({name: chain(rng, transitions(rng, 4, 1), 0, 40_000) for name in ("a", "b", "c")})


def test_a_seed_trains_the_same_whatever_stands_beside_it(domains):
    alone, beside = Training(domains, [3], 6), Training(domains, [0, 3], 6)
    beside.weights[0] = (0.8, 0.1, 0.1)
    alone.run(6)
    beside.run(6)
    assert alone.final()[0] == pytest.approx(beside.final()[1], abs=1e-6)
    assert beside.final()[0] != pytest.approx(beside.final()[1], abs=1e-6)


def test_other_weights_keep_the_order_of_rows_within_a_domain(domains):
    even, leaning = (Training(domains, [3]).draws[0] for _ in range(2))
    rows = [even.mixed(domains.even, step) for step in range(4)]
    others = [leaning.mixed(np.array([0.6, 0.2, 0.2]), step) for step in range(4)]
    first = len(domains.train[0])
    of_a, more = (
        [row for batch in some for row in batch if row < first] for some in (rows, others)
    )
    assert len(more) > len(of_a)
    assert more[: len(of_a)] == of_a


def test_a_trial_changes_the_models_and_is_taken_back(domains):
    training = Training(domains, [0, 1], 10)
    training.run(3)
    before, step = training.final(), training.step
    with training.trial(np.array([[0, 1], [2, 3]])):
        assert (training.final() != before).all()
    assert (training.final() == before).all()
    assert training.step == step


def test_kept_blocks_are_each_visited_once_before_any_comes_again(domains):
    pool = Pool(Training(domains, [0]), 0)
    kept = np.arange(0, len(pool.rows), 5)
    count = len(kept) // BATCH
    pool.keep(Bitmap.from_ids(kept, len(pool.rows)).message())
    visited = np.concatenate([pool.visit()[0] for _ in range(count)])
    assert set(visited) <= set(kept)
    assert len(set(visited)) == len(visited)


def test_differences_are_paired_by_seed():
    noise = np.array([0.0, 1.0, -1.0, 2.0])
    finals = {"even": 2.0 + noise, "good": 1.9 + noise + 0.01 * np.array([1, -1, 1, -1])}
    cells = {(e, s): {"finals": v.tolist()} for e, v in finals.items() for s in ("x", "y")}
    found = Outcomes(cells, ("x", "y")).overall("good")
    assert found.mean == pytest.approx(-0.1)
    assert found.half == pytest.approx(3.182446 * 0.01 * np.sqrt(4 / 3) / 2, rel=1e-5)
    assert found.is_better
    assert not Difference.of(np.array([0.1, -0.1, 0.2, -0.1])).is_better
