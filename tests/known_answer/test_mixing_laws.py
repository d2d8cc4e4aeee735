"""Published laws, recovered from noiseless runs, give their known values."""

import json
from pathlib import Path

import numpy as np
import pytest

from mixwright.surrogates import build_surrogate

ANSWERS = Path(__file__).parents[3] / "shared" / "known_answers" / "offline_known_answers.json"
pytestmark = pytest.mark.skipif(not ANSWERS.exists(), reason=f"no known answers at {ANSWERS}")


@pytest.fixture(scope="module")
def answers():
    return json.loads(ANSWERS.read_text())


def test_log_linear_recovers_the_mixing_law(answers):
    law = answers["mixing_law"]
    draws = np.random.default_rng(0).dirichlet(np.ones(3), 40)
    losses = law["c"] + law["k"] * np.exp(draws @ law["t"])
    fitted = build_surrogate("log_linear", {}).fit(draws, losses[:, None], 0)
    predicted = fitted.predict_mean(np.array(law["mix"]))[:, 0]
    np.testing.assert_allclose(predicted, law["loss"], rtol=1e-5)


def test_share_power_contains_bimix(answers):
    """BiMix's power law of a domain's own share is a share power law with one useful domain."""
    law = answers["bimix"]
    draws = np.random.default_rng(0).dirichlet(np.ones(3), 80)
    own = 0.02 + 0.98 * draws[:, 0]  # away from the pole at zero
    draws = np.column_stack([own, (1 - own) * 0.5, (1 - own) * 0.5])
    scale = law["B"] / 1000 ** law["beta"] + law["C"]
    losses = scale * own ** -law["alpha"]
    fitted = build_surrogate("share_power", {}).fit(draws, losses[:, None], 0)
    cases = [case for case in law["cases"] if case["s"] == 1000]
    mixtures = np.array([[c["r"], (1 - c["r"]) / 2, (1 - c["r"]) / 2] for c in cases])
    predicted = fitted.predict_mean(mixtures)[:, 0]
    np.testing.assert_allclose(predicted, [case["L"] for case in cases], rtol=5e-3)
