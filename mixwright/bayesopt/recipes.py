"""The ways of choosing the next run, by name."""

from enum import StrEnum


class Recipe(StrEnum):
    """How the next run is chosen: our own way, a score over cost, or as ADMIRE's scripts do."""

    OWN = "own"
    EXPECTED_IMPROVEMENT = "expected_improvement"
    KNOWLEDGE_GRADIENT = "knowledge_gradient"
    MAX_VALUE_ENTROPY = "max_value_entropy"
    ADMIRE = "admire"
