"""The page is made of what the API answers: JSON objects."""

from collections.abc import Mapping
from typing import Any, TypeAlias

Document: TypeAlias = Mapping[str, Any]
"""A JSON object."""
