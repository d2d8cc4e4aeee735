"""OLMo-core loads the exported sources and picks tokens from real files."""

from dataclasses import replace

import numpy as np
import pytest

from mixwright.exports import ExportedMixture, export

SEQUENCE, BATCH = 16, 160
BUDGET = 1_000 * BATCH
WEIGHTS = {"web": 0.55, "code": 0.25, "math": 0.12, "wiki": 0.08}
TOKENS = {"web": 400_000, "code": 80_000, "math": 12_800, "wiki": 8_000}  # wiki: 1.6 epochs

pytestmark = pytest.mark.filterwarnings("ignore")  # of OLMo-core and what it imports


@pytest.fixture
def source_mixture(trainer):
    return trainer("olmo_core.data.source_mixture")


@pytest.fixture
def local_mixture(tmp_path):
    paths = {domain: str(tmp_path / f"{domain}.npy") for domain in WEIGHTS}
    for domain, path in paths.items():
        np.zeros(TOKENS[domain], dtype=np.uint16).tofile(path)
    return ExportedMixture(
        mixture_id="rec_01",
        version=1,
        domains=tuple(WEIGHTS),
        weights=WEIGHTS,
        tokens=TOKENS,
        token_budget=BUDGET,
        paths=paths,
    )


def build(source_mixture, mixture, folder):
    path = folder / "sources.yaml"
    path.write_text(export(mixture, "olmo_core").text)
    sources = source_mixture.SourceMixtureList.from_yaml(path)
    config = source_mixture.SourceMixtureDatasetConfig(
        source_list=sources,
        requested_tokens=BUDGET,
        global_batch_size=BATCH,
        render_tables=False,
        quiet=True,
    )
    return config.build(npdtype=np.uint16, sequence_length=SEQUENCE)


def test_the_picked_tokens_are_the_mixture(source_mixture, local_mixture, tmp_path):
    dataset = build(source_mixture, local_mixture, tmp_path)

    picked = {s.name: sum(path.tokens for path in s.path_tokens) for s in dataset.sources}
    total = sum(picked.values())
    assert total == BUDGET
    assert {name: tokens / total for name, tokens in picked.items()} == pytest.approx(
        WEIGHTS, abs=1e-3
    )


def test_without_the_tokens_it_stops_as_the_warning_says(source_mixture, local_mixture, tmp_path):
    unknown = replace(local_mixture, tokens={})

    assert any("Insufficient tokens" in w for w in export(unknown, "olmo_core").warnings)
    with pytest.raises(Exception, match="Insufficient tokens for source: math"):
        build(source_mixture, unknown, tmp_path)


def test_sixty_ratios_pass_the_check_of_their_sum(source_mixture, mixture, tmp_path):
    path = tmp_path / "sources.yaml"
    path.write_text(export(mixture, "olmo_core").text)

    sources = source_mixture.SourceMixtureList.from_yaml(path)

    sources.validate()
    for source in sources.sources:
        source.validate()
    assert [source.paths for source in sources.sources] == [
        [mixture.paths[source.source_name]] for source in sources.sources
    ]
