"""A made-up history of Bayesian optimisation, as `GET /v1/studies/{study}/optimisations` has it."""

from typing import Any

OPTIONS = {
    "design": None,
    "recipe": "own",
    "wanted": "objective",
    "bounds": {},
    "curves": False,
}


def a_step(
    number: int, count: int, domains: tuple[str, ...], fidelities: tuple[str, ...]
) -> dict[str, Any]:
    """Return step `number` of `count`: regret halves, weights move to the first domain.

    The last of `fidelities` is the target; half of the runs were there.
    """
    done = number / max(1, count - 1)
    rest = (1.0 - (0.4 + 0.2 * done)) / (len(domains) - 1)
    mean = 2.4 - 0.3 * done
    runs = 4 + 2 * number
    return {
        "runs": runs,
        "spent": 2.5 * runs,
        "recommendation": {
            "weights": {domains[0]: 0.4 + 0.2 * done, **dict.fromkeys(domains[1:], rest)},
            "objective": {"mean": mean, "lower": mean - 0.2, "upper": mean + 0.2},
            "pool_index": None,
            "front": None,
        },
        "stopping": {
            "expected_gain": 0.05 * 0.5**number,
            "cost": 9.0,
            "regret": {"mean": 0.2 * 0.5**number, "upper": 0.5 * 0.5**number},
            "sentence": f"Going on is worth {0.05 * 0.5**number:.2g}.",
        },
        "fidelities": [
            {
                "name": name,
                "runs": runs // 2,
                "spent": 2.5 * runs / len(fidelities),
                "correlation": {"mean": 1.0, "lower": 1.0, "upper": 1.0}
                if name == fidelities[-1]
                else {"mean": 0.8 + 0.1 * done, "lower": 0.5, "upper": 0.97},
                "noise": 0.02,
                "gain": 0.04 * 0.5**number,
            }
            for name in fidelities
        ],
        "outliers": [],
        "runs_digest": "d1d1",
        "seed": 0,
        "version": "0.1.0",
        "created_at": f"2026-11-20T{number % 24:02d}:00:00Z",
    }


def an_optimisation(
    count: int,
    domains: tuple[str, ...] = ("web", "code", "books"),
    fidelities: tuple[str, ...] = ("small", "large"),
    **options: Any,
) -> dict[str, Any]:
    """Return `count` steps, asked for with `options` beside the default ones."""
    return {
        "fidelity": None,
        "seed": 0,
        "options": {**OPTIONS, **options},
        "steps": [a_step(number, count, domains, fidelities) for number in range(count)],
    }
