"""Keeps trained proxies, and opens them again: parameters in safetensors, with what they mean.

The file's metadata has the model's shape, the tokenizer and the digest of the corpus; a tokenizer
that is not `bytes` lies beside, as `NAME.tokenizer.json`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import fsspec
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mixwright.corpus.store import TokenStore
from mixwright.corpus.tokenizers import Tokenizer, make_tokenizer
from mixwright.errors import MixwrightError
from mixwright.proxies import ProxyModel
from workers.model import Parameters


class KeptError(MixwrightError):
    """A proxy that cannot be kept, or opened."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A proxy that was kept.

    Attributes:
        name: of its file, without the ending.
        digest: SHA-256 of its file.
        model: its shape.
        parameters: float32, of one slot.
        tokenizer: of the corpus that it was trained on.
    """

    name: str
    digest: str
    model: ProxyModel
    parameters: Parameters
    tokenizer: Tokenizer


def keep(
    folder: str,
    name: str,
    model: ProxyModel,
    parameters: Mapping[str, Tensor],
    store: TokenStore,
) -> dict[str, str]:
    """Write a proxy's parameters, without an axis of slots; return where, and their digest.

    Args:
        folder: or an fsspec URI.
        name: of the file.
        model: its shape.
        parameters: as it was trained.
        store: what it was trained on.

    Raises:
        KeptError: the folder cannot be written to.
    """
    meaning = {"model": json.dumps(asdict(model)), "tokenizer": store.tokenizer}
    tensors = {key: value.detach().cpu().contiguous() for key, value in parameters.items()}
    content = save(tensors, {**meaning, "corpus": store.digest})
    files, root = fsspec.url_to_fs(folder)
    place = f"{root.rstrip('/')}/{name}"
    try:
        files.makedirs(root, exist_ok=True)
        if store.tokenizer != "bytes":
            text = (store.folder / "tokenizer.json").read_bytes()
            files.pipe_file(f"{place}.tokenizer.json", text)
        files.pipe_file(f"{place}.safetensors", content)
    except OSError as error:
        raise KeptError(f"the proxy '{name}' cannot be kept in {folder}: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    return {"uri": files.unstrip_protocol(f"{place}.safetensors"), "sha256": digest}


def open_kept(path: Path) -> Kept:
    """Return the proxy in a file, which has its tokenizer beside it.

    Raises:
        KeptError: it is not there, or was not written by `keep`.
        CorpusError: its tokenizer is not beside it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            meaning = file.metadata() or {}
            parameters = {name: file.get_tensor(name)[None] for name in file.keys()}  # noqa: SIM118
        model, kind = ProxyModel(**json.loads(meaning["model"])), meaning["tokenizer"]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise KeptError(
            f"{path} is no proxy that was kept: {error}; train one with `keep`"
        ) from error
    beside = path.with_name(f"{path.stem}.tokenizer.json")
    tokenizer = make_tokenizer("bytes" if kind == "bytes" else f"hf:{beside}", ())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Kept(path.stem, digest, model, parameters, tokenizer)
