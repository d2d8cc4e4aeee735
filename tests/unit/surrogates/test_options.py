import pytest

from mixwright.errors import InvalidInputError
from mixwright.surrogates import build_surrogate, describe


def test_options_replace_defaults():
    recipe = build_surrogate("share_power", {"terms": 2, "ridge": 1})
    assert (recipe.terms, recipe.ridge, recipe.starts) == (2, 1.0, 1)
    assert isinstance(recipe.ridge, float)


def test_an_unknown_option_is_refused_with_those_known():
    with pytest.raises(InvalidInputError, match="'trems'; its options: ridge, starts, terms") as e:
        build_surrogate("share_power", {"trems": 2})
    assert e.value.field == "options/trems"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("share_power", {"terms": 0}),
        ("share_power", {"terms": 2.0}),
        ("share_power", {"terms": True}),
        ("share_power", {"ridge": "big"}),
        ("share_power", {"ridge": float("nan")}),
        ("gp", {"features": "cubes"}),
        ("gp", {"features": ["log"]}),
        ("ensemble", {"members": []}),
        ("ensemble", {"members": "gp"}),
        ("ensemble", {"members": ["gp", "magic"]}),
        ("auto", {"stiff_share": 1.5}),
    ],
)
def test_a_bad_value_is_refused_by_the_options_name(name, options):
    (key,) = options
    with pytest.raises(InvalidInputError, match=f"option '{key}'") as caught:
        build_surrogate(name, options)
    assert caught.value.field == f"options/{key}"


def test_the_published_schema_is_what_is_accepted():
    schemas = {entry["name"]: entry["options"]["properties"] for entry in describe()}
    assert schemas["share_power"]["terms"] == {
        "type": "integer",
        "description": "Powers added up: 1 is stiff and extrapolates, 4 is flexible.",
        "minimum": 1,
        "maximum": 8,
        "default": 1,
    }
    assert schemas["gp"]["features"]["enum"] == ["log", "sqrt"]
    for name, properties in schemas.items():
        build_surrogate(name, {key: value["default"] for key, value in properties.items()})
