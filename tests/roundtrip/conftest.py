"""Each test reads an export with the trainer's own code.

A trainer that is not installed is a skip, unless MIXWRIGHT_REQUIRE_TRAINERS is set, as CI does:
see requirements.txt beside this file.
"""

import importlib
import os
import warnings

import numpy as np
import pytest

from mixwright.exports import ExportedMixture


@pytest.fixture(scope="session")
def trainer():
    """Return a function that imports a trainer's module, or skips."""

    def load(module):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # theirs, not ours
                return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if os.environ.get("MIXWRIGHT_REQUIRE_TRAINERS"):
                raise
            pytest.skip(f"{module} cannot be imported ({error}); see {__file__}")

    return load


@pytest.fixture(scope="session")
def mixture():
    """Sixty domains with shares from about 1e-6 to 0.2, as no one would round them by hand."""
    rng = np.random.default_rng(0)
    domains = tuple(f"source:{i}/part" for i in range(60))
    weights = rng.dirichlet(np.full(60, 0.3))
    return ExportedMixture(
        mixture_id="rec_01",
        version=1,
        domains=domains,
        weights=dict(zip(domains, weights.tolist(), strict=True)),
        tokens=dict(zip(domains, rng.uniform(1e9, 1e12, 60).tolist(), strict=True)),
        mean_document_tokens=dict(zip(domains, rng.uniform(200, 5000, 60).tolist(), strict=True)),
        token_budget=1e12,
        sequence_length=4096,
        paths={domain: f"/data/{i} x" for i, domain in enumerate(domains)},
        seed=42,
    )
