"""Studies of other spaces as they are sent, and planted losses of their runs."""

import numpy as np

DOMAINS = [{"name": name, "tokens": tokens} for name, tokens in (("web", 6e9), ("code", 3e9))]
_SHARED = {
    "domains": DOMAINS,
    "metrics": [{"name": "loss"}],
    "fidelities": [{"name": "1m", "cost": 0.1}, {"name": "1b", "cost": 1.0}],
    "target_fidelity": "1m",
}
QUADMIX_STUDY = {
    **_SHARED,
    "name": "quality",
    "space": {"kind": "quadmix", "raters": ["edu", "noise"], "lower_is_better": ["noise"]},
}
META_RATER_STUDY = {
    **_SHARED,
    "name": "raters",
    "space": {"kind": "meta_rater", "raters": ["edu", "dclm", "noise"]},
}
THETA = {
    name: {
        "rater_weights": {"edu": 0.5, "noise": 0.5},
        "lambda": 500.0,
        "omega": 0.05,
        "eta": 0.5,
        "epsilon": 0.0005,
    }
    for name in ("web", "code")
}
STUDIES = {"quadmix": QUADMIX_STUDY, "meta_rater": META_RATER_STUDY}
POINTS = {"quadmix": THETA, "meta_rater": {"edu": 0.5, "dclm": 0.25, "noise": 0.25}}


def planted_loss(parameters):
    """A loss that is low where `edu` counts; of QuaDMix, at a threshold of 0.04 in `web`."""
    if "edu" in parameters:
        return 3.0 + (parameters["edu"] - 0.6) ** 2 + (parameters["noise"] - 0.1) ** 2
    web, code = parameters["web"], parameters["code"]
    trust = web["rater_weights"]["edu"] + 0.5 * code["rater_weights"]["edu"]
    return 4.0 - trust + 200.0 * (web["omega"] - 0.04) ** 2 + 0.3 * np.sqrt(code["omega"])
