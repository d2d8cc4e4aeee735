"""mosaicml-streaming plans an epoch from the exported streams.

Only `streaming.base.stream` is imported: the package's `__init__` pulls in transformers,
torchvision and every cloud client.
"""

import importlib.util
import os
import sys
from types import ModuleType

import numpy as np
import pytest
import yaml

from mixwright.exports import export
from mixwright.exports.canonical import canonical_shares


@pytest.fixture
def stream_class(trainer, monkeypatch):
    spec = importlib.util.find_spec("streaming")
    if spec is None and not os.environ.get("MIXWRIGHT_REQUIRE_TRAINERS"):
        pytest.skip("mosaicml-streaming is not installed; see requirements.txt")
    (root,) = spec.submodule_search_locations
    for name, path in (("streaming", root), ("streaming.base", f"{root}/base")):
        package = ModuleType(name)
        package.__path__ = [path]
        monkeypatch.setitem(sys.modules, name, package)
    return trainer("streaming.base.stream").Stream


def planned(stream_class, text, samples):
    """Return the samples each stream gives to an epoch, as llm-foundry builds the streams."""
    dataset = yaml.safe_load(text)["train_loader"]["dataset"]
    streams = [stream_class(**arguments) for arguments in dataset["streams"].values()]
    total = stream_class.apply_weights(
        streams, samples, dataset.get("epoch_size"), dataset["shuffle_seed"]
    )
    counts = [int(stream.choose) for stream in streams]
    assert sum(counts) == total
    return counts


@pytest.fixture
def shares(mixture):
    return {domain: float(share) for domain, share in canonical_shares(mixture)[0].items()}


@pytest.fixture
def samples(mixture, shares):
    """Sequences of 4,096 tokens that each stream holds."""
    return np.array([mixture.tokens[d] / 4096 for d in shares], dtype=np.int64)


@pytest.mark.parametrize("unit", ["sequence_share", "samples"])
def test_the_planned_epoch_is_the_mixture(mixture, shares, samples, stream_class, unit):
    counts = planned(stream_class, export(mixture, "llm_foundry", unit).text, samples)

    expected = [share * 1e12 / 4096 for share in shares.values()]
    assert counts == pytest.approx(expected, abs=1.01)
    assert sum(counts) == round(1e12 / 4096)


def test_repeats_are_the_mixture_too(mixture, shares, samples, stream_class):
    counts = planned(stream_class, export(mixture, "llm_foundry", "epochs").text, samples)

    expected = [share * 1e12 / 4096 for share in shares.values()]
    assert counts == pytest.approx(expected, rel=1e-6, abs=2)
