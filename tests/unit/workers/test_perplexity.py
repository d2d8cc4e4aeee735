"""Proxies that are kept, and the perplexities that they give to documents."""

import hashlib
import math

import numpy as np
import pytest
import torch
from small_group import make_order, make_store, make_texts

from mixwright.corpus.build import build_store
from workers.checkpoint import Checkpoints
from workers.keeping import KeptError, open_kept
from workers.model import losses
from workers.perplexity import perplexities, token_perplexities
from workers.reporting import as_result
from workers.train import train_group


def train(store, folder, **changes):
    order = make_order(store, keep=True, **changes)
    return train_group(
        order,
        store,
        torch.device("cpu"),
        checkpoints=Checkpoints(str(folder / "checkpoints"), order, 3600.0),
        on_step=lambda share: None,
        on_evaluation=lambda points: None,
        should_stop=lambda: False,
        models=str(folder / "models"),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def results(folder):
    return train(make_store(folder), folder, tokens=80 * 8 * 16, count=2)


@pytest.fixture(scope="module")
def kept(folder, results):
    return [open_kept(folder / "models" / f"{result.run_id}.safetensors") for result in results]


def test_a_kept_proxy_is_told_of_with_its_digest(folder, results, kept):
    for result, proxy in zip(results, kept, strict=True):
        content = (folder / "models" / f"{result.run_id}.safetensors").read_bytes()
        assert result.kept["sha256"] == hashlib.sha256(content).hexdigest() == proxy.digest
        assert result.kept["uri"].endswith(f"{result.run_id}.safetensors")
        assert as_result(result, set())["metadata"]["kept"] == result.kept
    assert proxy.model.context == 16
    assert proxy.tokenizer.name == "bytes"


def test_a_document_of_one_window_has_exp_of_the_loss_on_it(kept):
    text = "abcdefghabcdefg"  # with its end, 16 tokens
    tokens = np.frombuffer(b"\0" + text.encode() + b"\0", dtype=np.uint8).astype(np.int64)
    window = torch.from_numpy(tokens)[None, None]
    expected = losses(kept[0].parameters, kept[0].model, window).exp().item()
    assert perplexities(kept[0], [text])[0] == pytest.approx(expected, rel=1e-6)


def test_longer_documents_are_the_mean_over_all_their_tokens(kept):
    text = "abcdefgh" * 5
    stream = np.frombuffer(b"\0" + text.encode() + b"\0", dtype=np.uint8).astype(np.int64)
    total = 0.0
    for start in (0, 16, 32):
        part = torch.from_numpy(stream[start : start + 17])[None, None]
        total += losses(kept[0].parameters, kept[0].model, part).item() * (part.shape[2] - 1)
    expected = math.exp(total / (len(stream) - 1))
    found = perplexities(kept[0], ["", text, "xyz"])
    assert found[1] == pytest.approx(expected, rel=1e-6)
    assert np.isfinite(found).all()


def test_a_proxy_finds_its_own_domain_the_likelier(kept):
    texts = make_texts(seed=5, documents=6)
    mostly_low, mostly_high = kept[1], kept[0]
    assert (perplexities(mostly_low, texts["low"]) < perplexities(mostly_high, texts["low"])).all()
    assert (
        perplexities(mostly_high, texts["high"]) < perplexities(mostly_low, texts["high"])
    ).all()


def test_batches_of_windows_change_nothing(kept, monkeypatch):
    texts = make_texts(seed=6, documents=3)["low"]
    whole = perplexities(kept[0], texts)
    monkeypatch.setattr("workers.perplexity._ENTRIES_AT_ONCE", 5 * 16 * 256)
    np.testing.assert_allclose(perplexities(kept[0], texts), whole, rtol=1e-5)


def test_a_tokenizer_lies_beside_and_is_used(tmp_path):
    texts = make_texts()
    sources = {name: (lambda some=some: some) for name, some in texts.items()}
    store = build_store(sources, tmp_path / "store", tokenizer="bpe:300", validation_share=0.3)
    train(store, tmp_path, count=1)
    proxy = open_kept(tmp_path / "models" / "run_0.safetensors")
    text = texts["low"][0]
    tokens = proxy.tokenizer.encode(text)
    assert len(tokens) < len(text)
    assert perplexities(proxy, [text]) == token_perplexities(proxy, [tokens])


def test_what_is_no_proxy_is_refused(tmp_path):
    file = tmp_path / "odd.safetensors"
    with pytest.raises(KeptError, match="no proxy that was kept"):
        open_kept(file)
    file.write_bytes(b"something else")
    with pytest.raises(KeptError, match="no proxy that was kept"):
        open_kept(file)
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, file)
    with pytest.raises(KeptError, match="no proxy that was kept"):
        open_kept(file)
