"""Options of a surrogate: declared once, on the fields of its frozen dataclass.

The declaration serves the constructor, the check of what a user sent and the published schema.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from mixwright.errors import InvalidInputError

Default = TypeVar("Default", int, float, str, tuple[str, ...])
Recipe = TypeVar("Recipe")

_JSON_TYPES: dict[type, str] = {int: "integer", float: "number", str: "string", tuple: "array"}


def option(
    default: Default,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Default:
    """Return a dataclass field that carries its own schema.

    Args:
        default: also gives the type: int, float, str, or tuple of names.
        description: one sentence for the user.
        minimum: smallest number accepted.
        maximum: largest number accepted.
        choices: the names accepted.
    """
    schema = {"description": description, "minimum": minimum, "maximum": maximum}
    given = {key: value for key, value in schema.items() if value is not None}
    field: Default = dataclasses.field(
        default=default, metadata={"schema": given, "choices": choices}
    )
    return field


def build(recipe: type[Recipe], options: Mapping[str, Any], name: str) -> Recipe:
    """Return the recipe with `options` in place of its defaults.

    Raises:
        InvalidInputError: an option is unknown, of the wrong type or out of range.
    """
    fields = _fields(recipe)
    unknown = sorted(set(options) - set(fields))
    if unknown:
        valid = ", ".join(sorted(fields)) or "none"
        raise InvalidInputError(
            f"surrogate '{name}' has no option '{unknown[0]}'; its options: {valid}",
            field=f"options/{unknown[0]}",
        )
    return recipe(**{key: _checked(fields[key], value) for key, value in options.items()})


def schema(recipe: type) -> dict[str, Any]:
    """Return the JSON schema of a recipe's options."""
    return {
        "type": "object",
        "properties": {key: _property(field) for key, field in _fields(recipe).items()},
        "additionalProperties": False,
    }


def _fields(recipe: Any) -> dict[str, dataclasses.Field[Any]]:  # noqa: ANN401  - any dataclass
    return {field.name: field for field in dataclasses.fields(recipe)}


def _property(field: dataclasses.Field[Any]) -> dict[str, Any]:
    default: Any = field.default
    kind, choices = _JSON_TYPES[type(default)], field.metadata["choices"]
    declared: dict[str, Any] = {"type": kind, **field.metadata["schema"]}
    declared["default"] = list(default) if kind == "array" else default
    if kind == "array":
        declared["items"] = {"type": "string", "enum": list(choices)}
    elif choices is not None:
        declared["enum"] = list(choices)
    return declared


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:  # noqa: ANN401  - user input
    """Return `value` as the field's type."""
    kind = type(field.default)
    if kind in (int, float):
        return _checked_number(field, value)
    given = tuple(value) if kind is tuple and isinstance(value, list | tuple) else value
    names = given if kind is tuple else (given,)
    choices = field.metadata["choices"]
    if not isinstance(given, kind) or not names or any(name not in choices for name in names):
        raise _refusal(field, value, f"from {', '.join(choices)}")
    return given


def _checked_number(field: dataclasses.Field[Any], value: Any) -> int | float:  # noqa: ANN401
    kind = int if isinstance(field.default, int) else float
    allowed = (int,) if kind is int else (int, float)
    lowest = field.metadata["schema"].get("minimum", -float("inf"))
    highest = field.metadata["schema"].get("maximum", float("inf"))
    wanted = f"{_JSON_TYPES[kind]} in [{lowest}, {highest}]"
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise _refusal(field, value, wanted)
    if not lowest <= value <= highest:
        raise _refusal(field, value, wanted)
    number: int | float = kind(value)
    return number


def _refusal(field: dataclasses.Field[Any], value: object, wanted: str) -> InvalidInputError:
    return InvalidInputError(
        f"option '{field.name}' is {value!r}; expected {wanted}", field=f"options/{field.name}"
    )
