"""What each target's loader insists on."""

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mixwright.errors import InvalidInputError
from mixwright.exports import ExportedMixture, export

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


def mixture_with(**weights):
    return replace(
        FULL,
        domains=tuple(weights),
        weights=weights,
        tokens={},
        paths={},
        mean_document_tokens=dict.fromkeys(weights, 1000.0),
    )


class TestMegatron:
    def test_the_list_is_even_and_has_no_zero(self):
        mixture = mixture_with(web=0.75, code=0.25, none=0.0)

        words = shlex.split(export(mixture, "megatron").text, comments=True)
        blend = words[words.index("--data-path") + 1 : -1]

        assert blend == ["0.75", "/path/to/web", "0.25", "/path/to/code"]

    def test_too_many_sources_are_refused(self):
        domains = [f"d{i}" for i in range(32_767)]
        mixture = ExportedMixture("mx", 1, tuple(domains), dict.fromkeys(domains, 1 / len(domains)))

        with pytest.raises(InvalidInputError, match="fewer than 32767 sources"):
            export(mixture, "megatron")

    def test_a_source_of_few_samples_is_a_warning(self):
        mixture = replace(FULL, token_budget=1e8)

        (warning,) = [w for w in export(mixture, "megatron").warnings if "surplus" in w]

        # 1e8 / 4096 = 24,414 sequences; 8 % of them are 1,953, 12 % are 2,930
        assert warning.startswith("'wiki': ")

    def test_missing_validation_data_is_null_and_a_warning(self):
        result = export(FULL, "megatron_per_split")

        body = json.loads(result.text)
        assert (body["valid"], body["test"]) == (None, None)
        assert any("nothing is validated" in warning for warning in result.warnings)


class TestHuggingFace:
    @pytest.mark.parametrize("name", ["huggingface", "huggingface_json"])
    def test_token_shares_are_right_only_for_packed_sources(self, name):
        packed = export(FULL, name, "token_share").warnings

        assert any("packed" in warning for warning in packed)
        assert not any("packed" in warning for warning in export(FULL, name).warnings)

    def test_without_a_seed_there_is_a_warning(self):
        result = export(replace(FULL, seed=None), "huggingface")

        assert "seed=None" in result.text
        assert any("no seed" in warning for warning in result.warnings)

    @given(st.lists(st.floats(0.001, 1.0), min_size=2, max_size=60))
    def test_numpy_draws_from_the_printed_probabilities(self, raw):
        weights = {f"d{i}": value / sum(raw) for i, value in enumerate(raw)}
        body = json.loads(export(mixture_with(**weights), "huggingface_json").text)

        np.random.default_rng(0).choice(len(raw), p=body["probabilities"])


class TestLlmFoundry:
    @pytest.mark.parametrize(
        ("unit", "field"),
        [
            ("sequence_share", "proportion"),
            ("document_probability", "proportion"),
            ("epochs", "repeat"),
            ("samples", "choose"),
        ],
    )
    def test_one_kind_of_weight_is_used_for_all_streams(self, unit, field):
        streams = yaml.safe_load(export(FULL, "llm_foundry", unit).text)["train_loader"]["dataset"][
            "streams"
        ]

        for stream in streams.values():
            assert {"proportion", "repeat", "choose"} & stream.keys() == {field}

    def test_shares_come_with_the_samples_of_the_whole_training(self):
        body = yaml.safe_load(export(FULL, "llm_foundry").text)

        assert body["train_loader"]["dataset"]["epoch_size"] == 24_414_208
        assert body["max_duration"] == "100000595968tok"

    def test_document_probabilities_come_with_the_documents_of_the_whole_training(self):
        dataset = yaml.safe_load(export(FULL, "llm_foundry", "document_probability").text)[
            "train_loader"
        ]["dataset"]

        documents = 100_000_595_968 * (0.55 / 1100 + 0.25 / 2300 + 0.12 / 1600 + 0.08 / 700)
        assert dataset["epoch_size"] == pytest.approx(documents, abs=1)

    @pytest.mark.parametrize("unit", ["epochs", "samples"])
    def test_absolute_weights_have_no_epoch_size_and_last_one_epoch(self, unit):
        body = yaml.safe_load(export(FULL, "llm_foundry", unit).text)

        assert "epoch_size" not in body["train_loader"]["dataset"]
        assert body["max_duration"] == "1ep"

    def test_numbers_of_samples_are_whole(self):
        streams = yaml.safe_load(export(FULL, "llm_foundry", "samples").text)["train_loader"][
            "dataset"
        ]["streams"]

        assert sum(stream["choose"] for stream in streams.values()) == 24_414_208
        assert all(isinstance(stream["choose"], int) for stream in streams.values())

    def test_an_unknown_epoch_size_is_a_warning(self):
        result = export(replace(FULL, sequence_length=None), "llm_foundry")

        assert "epoch_size:" not in result.text
        assert any("repeated silently" in warning for warning in result.warnings)

    def test_remote_data_is_cached_locally(self):
        mixture = replace(FULL, paths={**FULL.paths, "web": "s3://bucket/web"})

        streams = yaml.safe_load(export(mixture, "llm_foundry").text)["train_loader"]["dataset"][
            "streams"
        ]

        assert streams["web"]["remote"] == "s3://bucket/web"
        assert "remote" not in streams["code"]
        assert streams["code"]["local"] == "/data/code"


class TestOlmoCore:
    def test_the_repetition_cap_is_two_percent_above_the_epochs_and_never_below_one(self):
        sources = yaml.safe_load(export(FULL, "olmo_core").text)["sources"]

        # epochs .0611, .4167, 1.500009, 1.600010
        assert [s["max_repetition_ratio"] for s in sources] == [1.0, 1.0, 1.54, 1.64]

    def test_unknown_epochs_are_a_warning(self):
        result = export(replace(FULL, tokens={"web": 900e9}), "olmo_core")

        (warning,) = [w for w in result.warnings if "Insufficient tokens" in w]
        assert warning.startswith("'code', 'math', 'wiki': ")


class TestLevanter:
    @pytest.mark.parametrize(
        ("share", "block"),
        [(0.08, 2048), (0.01, 2048), (0.0012, 16_384), (0.0009, 32_768), (1e-5, 32_768)],
    )
    def test_the_block_grows_until_the_shares_are_kept(self, share, block):
        data = yaml.safe_load(export(mixture_with(a=1 - share, b=share), "levanter").text)["data"]

        assert data["mixture_block_size"] == block
        assert block < 2**16

    def test_a_domain_below_one_sequence_per_block_is_a_warning(self):
        warnings = export(mixture_with(a=1 - 2e-5, b=2e-5), "levanter").warnings

        assert any(w.startswith("'b' gets no sequence at all") for w in warnings)

    def test_a_share_cut_by_more_than_five_percent_is_a_warning(self):
        # 5e-5 x 32,768 = 1.6, so one sequence: 3.05e-05
        warnings = export(mixture_with(a=1 - 5e-5, b=5e-5), "levanter").warnings

        assert "'b' gets 1 of 32768 sequences, 3.05e-05 instead of 0.00005" in warnings

    def test_weights_and_components_name_the_same_domains(self):
        data = yaml.safe_load(export(FULL, "levanter").text)["data"]

        assert list(data["components"]) == list(data["train_weights"])


class TestGenericJson:
    def test_numbers_of_samples_are_whole(self):
        body = json.loads(export(FULL, "generic_json", "samples").text)

        assert body["web"] == 13_427_814
        assert isinstance(body["web"], int)

    def test_kept_fractions_say_how_many_epochs_to_train(self):
        assert "train for 1.60001 epochs of what is kept" in (
            export(FULL, "generic_json", "kept_fraction").warnings
        )

    def test_a_domain_named_as_the_metadata_is_refused(self):
        with pytest.raises(InvalidInputError, match="rename the domain"):
            export(mixture_with(web=0.5, _mix=0.5), "generic_json")
