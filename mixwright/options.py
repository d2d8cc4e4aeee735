"""Options of an algorithm: declared once, on the fields of its frozen dataclass.

The declaration serves the constructor, the check of what a user sent and the published schema.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mixwright.errors import InvalidInputError

Default = TypeVar("Default", bool, int, float, str, tuple[str, ...])
Recipe = TypeVar("Recipe")

_JSON_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    tuple: "array",
}
_NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}
_TABLE = {"type": "object", "additionalProperties": _NUMBERS}


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
        default: also gives the type: bool, int, float, str, or tuple of names.
        description: one sentence for the user.
        minimum: smallest number accepted.
        maximum: largest number accepted.
        choices: the names accepted; None for any, of a string.
    """
    schema = {"description": description, "minimum": minimum, "maximum": maximum}
    given = {key: value for key, value in schema.items() if value is not None}
    field: Default = dataclasses.field(
        default=default, metadata={"schema": given, "choices": choices}
    )
    return field


def by_name(description: str) -> Any:  # noqa: ANN401  - the field says `Mapping | None`
    """Return a dataclass field for a number per name, None by default."""
    schema = {**_NUMBERS, "description": description}
    return dataclasses.field(default=None, metadata={"schema": schema, "depth": 1})


def by_names(description: str) -> Any:  # noqa: ANN401  - the field says `Mapping | None`
    """Return a dataclass field for a number per pair of names, row first, None by default."""
    schema = {**_TABLE, "description": description}
    return dataclasses.field(default=None, metadata={"schema": schema, "depth": 2})


def records(description: str, keys: tuple[str, ...]) -> Any:  # noqa: ANN401  - a sequence
    """Return a dataclass field for a list of records, of which each key holds numbers by name.

    Args:
        description: one sentence for the user.
        keys: of every record. The default is no record at all, `()`.
    """
    return _records(description, keys, 1)


def sequences(description: str, keys: tuple[str, ...]) -> Any:  # noqa: ANN401  - a sequence
    """Return a dataclass field for lists of records: several of what `records` has one of."""
    return _records(description, keys, 2)


def _records(description: str, keys: tuple[str, ...], lists: int) -> Any:  # noqa: ANN401
    schema: dict[str, Any] = {
        "type": "object",
        "properties": dict.fromkeys(keys, _NUMBERS),
        "required": list(keys),
        "additionalProperties": False,
    }
    for _ in range(lists):
        schema = {"type": "array", "items": schema}
    metadata = {"schema": {**schema, "description": description}, "keys": keys, "lists": lists}
    return dataclasses.field(default=(), metadata=metadata)


def numbers(
    default: tuple[float, ...], description: str, *, minimum: float, maximum: float
) -> tuple[float, ...]:
    """Return a dataclass field for a list of numbers, one at least.

    Args:
        default: if nothing is given.
        description: one sentence for the user.
        minimum: smallest number accepted.
        maximum: largest number accepted.
    """
    item = {"type": "number", "minimum": minimum, "maximum": maximum}
    schema = {"type": "array", "items": item, "minItems": 1, "description": description}
    field: tuple[float, ...] = dataclasses.field(
        default=default, metadata={"schema": schema, "range": (minimum, maximum)}
    )
    return field


def build(recipe: type[Recipe], options: Mapping[str, Any], name: str) -> Recipe:
    """Return the recipe with `options` in place of its defaults.

    Args:
        recipe: a dataclass whose fields are options.
        options: as a user sent them.
        name: of the algorithm, for the error, as "surrogate 'gp'".

    Raises:
        InvalidInputError: an option is unknown, of the wrong type or out of range.
    """
    fields = _fields(recipe)
    unknown = sorted(set(options) - set(fields))
    if unknown:
        valid = ", ".join(sorted(fields)) or "none"
        raise InvalidInputError(
            f"{name} has no option '{unknown[0]}'; its options: {valid}",
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
    if "depth" in field.metadata:
        return {**field.metadata["schema"], "default": None}
    if "keys" in field.metadata:
        return {**field.metadata["schema"], "default": []}
    if "range" in field.metadata:
        given: Any = field.default
        return {**field.metadata["schema"], "default": list(given)}
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
    for mark, check in _CHECKS.items():
        if mark in field.metadata:
            return check(field, value)
    kind: type = type(field.default)
    if kind is bool:
        if not isinstance(value, bool):
            raise _refusal(field, value, "true or false")
        return value
    if kind in (int, float):
        return _checked_number(field, value)
    given = tuple(value) if kind is tuple and isinstance(value, list | tuple) else value
    names = given if kind is tuple else (given,)
    choices = field.metadata["choices"]
    if choices is None:
        return _checked_name(field, value)
    if not isinstance(given, kind) or not names or any(name not in choices for name in names):
        raise _refusal(field, value, f"from {', '.join(choices)}")
    return given


def _checked_name(field: dataclasses.Field[Any], value: Any) -> str:  # noqa: ANN401  - user input
    if not isinstance(value, str) or not value:
        raise _refusal(field, value, "a name")
    return value


def _checked_number(field: dataclasses.Field[Any], value: Any) -> int | float:  # noqa: ANN401
    kind = int if isinstance(field.default, int) else float
    allowed = (int,) if kind is int else (int, float)
    lowest = field.metadata["schema"].get("minimum", -float("inf"))
    highest = field.metadata["schema"].get("maximum", float("inf"))
    wanted = f"{_JSON_TYPES[kind]} in [{lowest}, {highest}]"
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise _refusal(field, value, wanted)
    if not lowest <= value <= highest or not math.isfinite(value):
        raise _refusal(field, value, wanted)
    number: int | float = kind(value)
    return number


def _checked_numbers(field: dataclasses.Field[Any], value: Any) -> tuple[float, ...]:  # noqa: ANN401
    lowest, highest = field.metadata["range"]
    wanted = f"a list of numbers in [{lowest}, {highest}]"
    if not isinstance(value, list | tuple) or not value:
        raise _refusal(field, value, wanted)
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in value):
        raise _refusal(field, value, wanted)
    if not all(lowest <= one <= highest for one in value):
        raise _refusal(field, value, wanted)
    return tuple(float(one) for one in value)


def _checked_mapping(field: dataclasses.Field[Any], value: Any, depth: int) -> Any:  # noqa: ANN401
    """Return names with finite numbers, or with names with finite numbers."""
    wanted = "numbers by name" if depth == 1 else "numbers by name by name"
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise _refusal(field, value, wanted)
    if depth > 1:
        return {name: _checked_mapping(field, one, depth - 1) for name, one in value.items()}
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in value.values()):
        raise _refusal(field, value, wanted)
    if not all(math.isfinite(one) for one in value.values()):
        raise _refusal(field, value, wanted)
    return {name: float(one) for name, one in value.items()}


def _checked_records(field: dataclasses.Field[Any], value: Any, lists: int) -> Any:  # noqa: ANN401
    """Return a tuple of records as they were declared, or of such tuples."""
    keys = field.metadata["keys"]
    wanted = f"lists of records of {' and '.join(keys)}"
    if not isinstance(value, list | tuple):
        raise _refusal(field, value, wanted)
    if lists > 1:
        return tuple(_checked_records(field, one, lists - 1) for one in value)
    for record in value:
        if not isinstance(record, Mapping) or set(record) != set(keys):
            raise _refusal(field, record, wanted)
        if any(record[key] is None for key in keys):
            raise _refusal(field, record, wanted)
    return tuple({key: _checked_mapping(field, record[key], 1) for key in keys} for record in value)


_CHECKS: dict[str, Callable[[dataclasses.Field[Any], Any], Any]] = {
    "depth": lambda field, value: _checked_mapping(field, value, field.metadata["depth"]),
    "keys": lambda field, value: _checked_records(field, value, field.metadata["lists"]),
    "range": _checked_numbers,
}
"""How a value is checked, by what only fields of its kind carry."""


def _refusal(field: dataclasses.Field[Any], value: object, wanted: str) -> InvalidInputError:
    return InvalidInputError(
        f"option '{field.name}' is {value!r}; expected {wanted}", field=f"options/{field.name}"
    )
