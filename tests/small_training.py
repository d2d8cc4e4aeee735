"""A training of two domains, and what tests ask of answers about it."""

TRAINING = {
    "name": "7b-main",
    "domains": ["a", "b"],
    "algorithm": "doremi",
    "options": {"floor": 0.0},
}


def pointers(answer):
    return [error["pointer"] for error in answer["errors"]]


def triple(answer):
    return {name: answer[name] for name in ("version", "effective_step", "weights")}
