"""A small study and a run of it, as they are sent."""

import numpy as np

SMALL_STUDY = {
    "name": "small",
    "domains": [
        {"name": "web", "tokens": 6e11},
        {"name": "code", "tokens": 3e11},
        {"name": "math", "tokens": 1e11},
    ],
    "metrics": [{"name": "loss/web"}, {"name": "loss/code"}],
    "fidelities": [{"name": "1m", "cost": 0.001}, {"name": "1b", "cost": 1.0}],
    "target_fidelity": "1b",
}
SMALL_RUN = {
    "external_id": "r1",
    "fidelity": "1m",
    "weights": {"web": 0.5, "code": 0.3, "math": 0.2},
    "metrics": {"loss/web": 3.1, "loss/code": 2.2},
    "cost": 0.001,
    "metadata": {"seed": 7},
}


def made_up_runs(count, fidelity="1m", seed=0):
    """Runs of the small study: a linear law with a little noise."""
    rng = np.random.default_rng(seed)
    return [
        {
            "fidelity": fidelity,
            "weights": {"web": float(web), "code": float(code), "math": float(math)},
            "metrics": {
                "loss/web": float(3.5 - web + 0.01 * rng.normal()),
                "loss/code": float(2.5 - code),
            },
        }
        for web, code, math in rng.dirichlet(np.ones(3), count)
    ]
