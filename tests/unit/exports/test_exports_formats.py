import ast
import json
import shlex
from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright.errors import InvalidInputError
from mixwright.exports import EXPORTS, ExportedMixture, describe_formats, export
from mixwright.exports.canonical import digest

FULL = ExportedMixture(
    mixture_id="rec_01",
    version=3,
    domains=("web", "code", "math", "wiki"),
    weights={"web": 0.55, "code": 0.25, "math": 0.12, "wiki": 0.08},
    tokens={"web": 900e9, "code": 60e9, "math": 8e9, "wiki": 5e9},
    mean_document_tokens={"web": 1100, "code": 2300, "math": 1600, "wiki": 700},
    token_budget=100_000_595_968,
    sequence_length=4096,
    paths={name: f"/data/{name}" for name in ("web", "code", "math", "wiki")},
    max_epochs=4.0,
    seed=42,
)
BARE = ExportedMixture("rec_02", 1, ("web", "code"), {"web": 0.75, "code": 0.25})

YAML_FORMATS = [name for name, f in EXPORTS.items() if f.media_type == "application/yaml"]


def mixture_with(**weights):
    return replace(
        FULL,
        domains=tuple(weights),
        weights=weights,
        tokens={},
        paths={},
        mean_document_tokens=dict.fromkeys(weights, 1000.0),
    )


def _megatron_list(text):
    words = shlex.split(text, comments=True)
    return _pairs(words[words.index("--data-path") + 1 : -1])


def _pairs(blend):
    return dict(zip(blend[1::2], map(float, blend[::2]), strict=True))


def _interleaved(text):
    arguments = json.loads(text)
    return dict(zip(arguments["order"], arguments["probabilities"], strict=True))


def _streams(text):
    streams = yaml.safe_load(text)["train_loader"]["dataset"]["streams"]
    fields = ("proportion", "repeat", "choose")
    return {d: next(s[field] for field in fields if field in s) for d, s in streams.items()}


def _sources(text):
    return {s["source_name"]: s["target_ratio"] for s in yaml.safe_load(text)["sources"]}


def _python_lists(text):
    return dict(zip(_assigned(text, "sources"), _assigned(text, "probabilities"), strict=True))


def _nanosets(text):
    dataset = yaml.safe_load(text)["data_stages"][0]["data"]["dataset"]
    return dict(zip(dataset["dataset_folder"], dataset["dataset_weights"], strict=True))


READERS = {
    "canonical": lambda text: json.loads(text)["stages"][0]["weights"],
    "megatron": _megatron_list,
    "megatron_per_split": lambda text: _pairs(json.loads(text)["train"]),
    "huggingface": _python_lists,
    "huggingface_json": _interleaved,
    "llm_foundry": _streams,
    "olmo_core": _sources,
    "levanter": lambda text: yaml.safe_load(text)["data"]["train_weights"],
    "nanotron": _nanosets,
    "generic_json": lambda text: {d: w for d, w in json.loads(text).items() if d != "_mix"},
}


def printed_weights(name, mixture, unit=None):
    """Read an exported text back as weight by domain, or by path where it names paths only."""
    return READERS[name](export(mixture, name, unit).text)


def _assigned(text, name):
    """Return the list given to a variable: numbers as they are, calls as their first argument."""
    (node,) = [
        n for n in ast.parse(text).body if isinstance(n, ast.Assign) and n.targets[0].id == name
    ]
    return [
        ast.literal_eval(item.args[0] if isinstance(item, ast.Call) else item)
        for item in node.value.elts
    ]


@pytest.mark.parametrize("name", EXPORTS)
def test_every_format_says_the_same_mixture_in_the_same_order(name):
    unit = "document_probability" if name.startswith("huggingface") else None
    expected = [0.626581046896, 0.136213271064, 0.093987157035, 0.143218525005]

    weights = printed_weights(name, FULL, unit)

    assert list(weights.values()) == (expected if unit else [0.55, 0.25, 0.12, 0.08])
    assert [key.rsplit("/", 1)[-1] for key in weights] == ["web", "code", "math", "wiki"]


@pytest.mark.parametrize("name", EXPORTS)
def test_every_format_cites_the_mixture_and_the_digest(name):
    result = export(FULL, name)
    digest_of_canonical = json.loads(export(FULL, "canonical").text)["sha256"]

    for fact in ("rec_01", EXPORTS[name].units[0].value, "100000595968", digest_of_canonical, "42"):
        assert fact in result.text
    assert result.text.endswith("\n")
    assert (result.media_type, result.filename) == (
        EXPORTS[name].media_type,
        EXPORTS[name].filename,
    )


def test_the_digest_can_be_recomputed_from_the_canonical_text():
    document = json.loads(export(FULL, "canonical").text)

    assert document["sha256"] == digest(document)
    assert document["sha256"] != digest({**document, "version": 4})


@pytest.mark.parametrize("name", ["megatron", "huggingface"])
def test_positional_formats_tell_the_order(name):
    assert '# order: ["web", "code", "math", "wiki"]\n' in export(FULL, name).text


@pytest.mark.parametrize("name", EXPORTS)
def test_domains_below_the_smallest_weight_are_left_out_by_name(name):
    mixture = mixture_with(web=0.75, code=0.25, dust=9e-7, none=0.0)

    result = export(mixture, name)

    assert "'dust', 'none': left out, because the share is below 1e-06" in result.warnings
    assert list(printed_weights(name, mixture).values()) == [0.75, 0.25]


@pytest.mark.parametrize("name", [name for name, f in EXPORTS.items() if f.has_paths])
def test_a_missing_path_is_a_placeholder_and_a_warning(name):
    mixture = replace(FULL, paths={"web": "/data/web"})

    result = export(mixture, name)

    assert "/path/to/code" in result.text
    (warning,) = [w for w in result.warnings if "placeholder" in w]
    assert warning.startswith("'code', 'math', 'wiki': ")
    assert not [w for w in export(FULL, name).warnings if "placeholder" in w]


@pytest.mark.parametrize("name", EXPORTS)
def test_repetition_above_the_cap_is_a_warning_that_names_the_domain(name):
    result = export(replace(FULL, max_epochs=1.55), name)

    assert [w for w in result.warnings if "cap" in w] == [
        "'wiki' is repeated 1.6 times, above the cap of 1.55"
    ]


def test_a_cap_that_cannot_be_checked_is_said():
    mixture = replace(FULL, tokens={"web": 900e9, "code": 60e9, "math": 8e9})

    assert any(
        w.startswith("'wiki': the cap of 4 epochs is not checked")
        for w in export(mixture, "canonical").warnings
    )


@pytest.mark.parametrize("name", sorted(set(EXPORTS) - {"canonical"}))
def test_warnings_stand_in_the_text_too(name):
    mixture = replace(FULL, max_epochs=1.55)

    result = export(mixture, name)

    assert result.warnings
    for warning in result.warnings:
        assert warning in result.text or json.dumps(warning) in result.text


@pytest.mark.parametrize("name", EXPORTS)
def test_what_is_not_known_is_left_out(name):
    unit = "token_share" if name.startswith("huggingface") else None

    assert list(printed_weights(name, BARE, unit).values()) == [0.75, 0.25]


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("unit", ["token_share", "samples", "kept_fraction", "parsecs"])
def test_a_unit_that_a_format_does_not_take_is_refused_with_those_it_takes(name, unit):
    accepted = EXPORTS[name].units
    if unit in accepted:
        export(FULL, name, unit)
        return
    with pytest.raises(InvalidInputError, match=f"'{unit}'; it takes {accepted[0]}") as caught:
        export(FULL, name, unit)
    assert caught.value.field == "unit"


def test_an_unknown_format_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInputError, match="'nemo' is not known; choose one of canonical"):
        export(FULL, "nemo")


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=40)
@given(st.lists(NAMES, min_size=2, max_size=5, unique=True), NAMES)
@pytest.mark.parametrize("name", EXPORTS)
def test_no_name_breaks_the_syntax(name, domains, mixture_id):
    share = 1 / len(domains)
    mixture = ExportedMixture(
        mixture_id,
        1,
        tuple(domains),
        dict.fromkeys(domains, share),
        paths={d: f"/data/{d}" for d in domains},
    )

    weights = printed_weights(name, mixture, "token_share")

    keys = domains
    if name in ("megatron", "megatron_per_split", "huggingface", "nanotron"):
        keys = [f"/data/{d}" for d in domains]
    assert list(weights) == keys
    assert all(weight == pytest.approx(share, abs=1e-11) for weight in weights.values())


@pytest.mark.parametrize("name", YAML_FORMATS)
def test_small_weights_are_numbers_in_yaml(name):
    weights = printed_weights(name, mixture_with(web=1 - 2e-6, dust=2e-6))

    assert list(weights.values()) == [0.999998, 0.000002]
    assert all(isinstance(weight, float) for weight in weights.values())


def test_the_smallest_probabilities_have_no_exponent():
    mixture = replace(
        mixture_with(web=1 - 2e-6, dust=2e-6), mean_document_tokens={"web": 1, "dust": 1000}
    )

    streams = export(mixture, "llm_foundry", "document_probability").text

    assert "proportion: 0.000000002\n" in streams


@pytest.mark.parametrize("name", EXPORTS)
def test_one_domain_alone_is_a_mixture(name):
    weights = printed_weights(name, mixture_with(web=1.0))

    assert list(weights.values()) == [1.0]
    assert isinstance(next(iter(weights.values())), float)


def test_every_format_is_described_with_what_its_units_need():
    formats = {entry["name"]: entry for entry in describe_formats()}

    assert list(formats) == list(EXPORTS)
    assert formats["huggingface"]["default_unit"] == "document_probability"
    assert formats["llm_foundry"]["units"][-1]["name"] == "samples"
    assert formats["llm_foundry"]["units"][-1]["needs"] == ["token_budget", "sequence_length"]
    json.dumps(describe_formats(), allow_nan=False)
