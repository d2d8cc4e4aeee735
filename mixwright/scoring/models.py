"""Files of fitted models: arrays and settings, named by the SHA-256 of both."""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mixwright.errors import InvalidInputError
from mixwright.quality.shards import Fields

_HEAD = "head"  # the array of what is not an array

Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What was fitted.

    Attributes:
        kind: what it is a model of, with a version: "ngram/1".
        settings: that it was fitted with, as JSON has them.
        arrays: by name.
    """

    kind: str
    settings: Mapping[str, Any]
    arrays: Arrays

    @property
    def digest(self) -> str:
        """Of all of it: equal digests give equal scores."""
        found = hashlib.sha256(self._head().encode())
        for name in sorted(self.arrays):
            array = np.ascontiguousarray(self.arrays[name])
            found.update(f"{name} {array.dtype.str} {array.shape}".encode())
            found.update(array.data)
        return found.hexdigest()

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all.

        Raises:
            InvalidInputError: the file cannot be written.
        """
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                named: Any = {_HEAD: np.array(self._head()), **self.arrays}
                np.savez_compressed(file, **named)
            beside.replace(path)
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be written: {error}", "model") from error
        finally:
            beside.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path, kind: str) -> "Model":
        """Return what `save` wrote.

        Raises:
            InvalidInputError: the file cannot be read, or is another one.
        """
        try:
            with path.open("rb") as raw, np.load(raw) as file:
                arrays = {name: file[name] for name in file.files}
            head = json.loads(str(arrays.pop(_HEAD)))
            found, settings = head["kind"], head["settings"]
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise InvalidInputError(
                f"{path} cannot be read as a model: {error}", "model"
            ) from error
        if found != kind:
            raise InvalidInputError(f"{path} is a model of {found}, not {kind}", "model")
        return cls(kind, settings, arrays)

    def _head(self) -> str:
        return json.dumps({"kind": self.kind, "settings": dict(self.settings)}, sort_keys=True)


@lru_cache(maxsize=2)
def load_once(path: Path, kind: str, digest: str) -> Model:
    """Return a model that stays in this process.

    Raises:
        InvalidInputError: the file is not that model, or no more.
    """
    model = Model.load(path, kind)
    if model.digest != digest:
        raise InvalidInputError(f"{path} was changed while it was used", "model")
    return model


@dataclass(frozen=True, slots=True)
class ModelScorer:
    """A scorer of texts by a model: what is the same of all of them.

    Attributes:
        path: of the model, where every worker can read it.
        digest: of the model.
        text_column: where a document's text is.
        column: where its score goes.
    """

    path: Path
    digest: str
    text_column: str
    column: str

    kind: ClassVar[str]

    @property
    def fields(self) -> Fields:
        """What is read and added."""
        return Fields(texts=(self.text_column,), added=(self.column,))

    @property
    def made_of(self) -> dict[str, Any]:
        """The model."""
        return {"kind": self.kind, "model": self.digest}

    @property
    def model(self) -> Model:
        """The model, loaded once in a process."""
        return load_once(self.path, self.kind, self.digest)
