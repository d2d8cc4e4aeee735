"""Hugging Face datasets runs the exported Python on real files."""

import json
from collections import Counter
from itertools import islice

import pytest

from mixwright.exports import ExportedMixture, export

WEIGHTS = {"web": 0.55, "code": 0.25, "math": 0.12, "wiki": 0.08}
DOCUMENT_TOKENS = {"web": 1100, "code": 2300, "math": 1600, "wiki": 700}

pytestmark = pytest.mark.filterwarnings("ignore")  # of datasets and what it imports


@pytest.fixture
def local_mixture(tmp_path):
    for domain in WEIGHTS:
        (tmp_path / domain).mkdir()
        document = json.dumps({"domain": domain, "tokens": DOCUMENT_TOKENS[domain]})
        (tmp_path / domain / "train.jsonl").write_text(f"{document}\n" * 1000)
    return ExportedMixture(
        mixture_id="rec_01",
        version=1,
        domains=tuple(WEIGHTS),
        weights=WEIGHTS,
        mean_document_tokens=DOCUMENT_TOKENS,
        paths={domain: str(tmp_path / domain) for domain in WEIGHTS},
        seed=42,
    )


def token_shares(documents):
    tokens = Counter()
    for document in documents:
        tokens[document["domain"]] += document["tokens"]
    return {domain: tokens[domain] / tokens.total() for domain in WEIGHTS}


@pytest.fixture
def datasets(trainer, monkeypatch, tmp_path):
    module = trainer("datasets")
    monkeypatch.setattr(module.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return module


def run(text):
    names = {}
    exec(text, names)
    return names["mixture"]


def test_the_drawn_documents_have_the_token_shares(local_mixture, datasets):
    drawn = list(run(export(local_mixture, "huggingface").text))

    assert token_shares(drawn) == pytest.approx(WEIGHTS, abs=0.02)


def test_token_shares_pasted_as_probabilities_would_train_on_another_mixture(
    local_mixture, datasets
):
    drawn = list(run(export(local_mixture, "huggingface", "token_share").text))

    assert token_shares(drawn)["code"] > 0.35  # .25 x 2300 / 1428 = .40


def test_sixty_probabilities_pass_the_check_of_their_sum(mixture, local_mixture, datasets):
    arguments = json.loads(export(mixture, "huggingface_json").text)
    source = datasets.load_dataset(local_mixture.paths["web"], split="train", streaming=True)

    mixed = datasets.interleave_datasets(
        [source] * len(arguments["order"]),
        probabilities=arguments["probabilities"],
        seed=arguments["seed"],
        stopping_strategy=arguments["stopping_strategy"],
    )

    assert len(list(islice(mixed, 100))) == 100
